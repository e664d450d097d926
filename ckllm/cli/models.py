"""`ckllm complete`, `ckllm batch` and `ckllm benchmark`: the language model by itself, without documents."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, Session, session
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.llm.base import BaseLLM


def complete(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="The text to continue.", metavar="PROMPT")],
    max_tokens: Annotated[int, typer.Option(min=1, help="The most new tokens.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Plain text completion, without a chat template and without documents.

    Example: ckllm complete "The three states of water are" --max-tokens 20
    """
    with _model(session(context)) as llm:
        request = llm.request(prompt=prompt, max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop or ())
        with llm.generate_stream(request) as stream:
            text = "".join(stream)
    if as_json:
        usage = {"prompt_tokens": stream.usage.prompt_tokens, "completion_tokens": stream.usage.completion_tokens}
        output.print_json({"prompt": prompt, "text": text, "finish_reason": stream.finish_reason, "usage": usage})
    else:
        typer.echo(prompt + text)


def _model(options: Session) -> BaseLLM:
    from ckllm.llm.table import open_llm

    settings = options.settings()
    return open_llm(settings.llm, settings.models_folder)


def batch(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON Lines with `prompt` or `messages` in each row.", metavar="FILE.jsonl")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write here, and go on here after an interruption.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The most new tokens of a row that does not say.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = 0.0,
    _json: Json = False,
) -> None:
    """The language model over a file of rows; output rows are JSON Lines in the same order, a failing row has `error`.

    Example: ckllm batch prompts.jsonl --out answers.jsonl
    """
    from ckllm.llm.batch_file import batch_rows, count_rows, run_batch_file

    if not file.is_file():
        raise UsageError(f"no batch file at {file}: give the path of a JSON Lines file")
    count_rows(file)  # before the model is loaded for a file that cannot be read
    parameters = {"max_tokens": max_tokens, "temperature": temperature}
    with _model(session(context)) as llm:
        if out is None:
            with file.open(encoding="utf-8-sig") as lines:
                for row in batch_rows(llm, lines, **parameters):
                    output.print_json(row)
            return
        with _counting("rows") as progress:
            report = run_batch_file(llm, file, out, progress, **parameters)
    output.print_json({"out": str(out), "rows": report.rows, "skipped": report.skipped, "failed": report.failed})


def benchmark(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Multiple-choice or QA tasks.", metavar="TASK.jsonl…")],
    expert: Annotated[str, typer.Option(help="Whose score: base, or names of experts.")] = "base",
    as_json: Json = False,
) -> None:
    """Scores of an expert on local tasks: multiple choice by likelihood, QA by exact match and F1, per language.

    Example: ckllm benchmark exam.jsonl
    """
    from ckllm.evaluation.benchmark import run_benchmark
    from ckllm.workshop import open_expert

    with open_expert(session(context).settings(), expert) as llm, _counting("tasks") as progress:
        report = run_benchmark(llm, files, progress)
    if as_json:
        output.print_json(report.as_json())
    else:
        typer.echo(report.as_markdown(), nl=False)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr with rate and time left, where stderr is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
