"""`ckllm experts train`, `evaluate` and `prepare-data`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.experts.training.loop import Progress

EVERY_S = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""


def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The new expert.", metavar="NAME")],
    data: Annotated[Path | None, typer.Option("--data", help="JSON Lines of messages, or prompt and response.")] = None,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Make the rows of these documents.")] = "",
    base: Annotated[str, typer.Option(help="Base model: bundled name, folder, GGUF file or fetched hub id.")] = "",
    rank: Annotated[int, typer.Option(min=1, max=512, help="Rank of the adapter.")] = 16,
    alpha: Annotated[int, typer.Option(min=0, help="LoRA alpha; 0: twice the rank.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows, unless it stops early.")] = 3,
    steps: Annotated[int, typer.Option(min=0, help="The most optimiser steps; 0: no limit.")] = 0,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1.0, help="Peak learning rate.")] = 5e-4,
    max_tokens: Annotated[int, typer.Option(min=16, help="Rows above this are left out.")] = 2048,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 40,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Validations without gain before it stops.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the split, the order and the weights.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    quantisation: Annotated[str, typer.Option(help="none, or 4bit: QLoRA, on a GPU.")] = "none",
    score_rows: Annotated[int, typer.Option(min=0, help="Held-out rows that are answered in the end.")] = 100,
    description: Annotated[str, typer.Option(help="For the card.")] = "",
    licence: Annotated[str, typer.Option(help="Of the data, for the card.")] = "",
    log_to: Annotated[str, typer.Option(help="wandb, trackio or tensorboard, where installed.")] = "",
    restart: Annotated[bool, typer.Option("--restart", help="Forget a stopped run of this name.")] = False,
    as_json: Json = False,
) -> None:
    """Train a LoRA adapter, score it on documents held out beside the base model, and install it.

    Whole documents are held out for validation and test. The loss is on the answers alone. A run that was stopped goes on
    from its last checkpoint when the same command is given again, and ends in the same weights.

    Example: ckllm experts train contracts --data contracts.jsonl --epochs 2
    """
    from ckllm.experts.training.loop import TrainingOptions
    from ckllm.experts.training.order import Plan
    from ckllm.workshop import train as run

    if quantisation not in ("none", "4bit"):
        raise UsageError(f"--quantisation {quantisation}: give none or 4bit")
    options = TrainingOptions(
        rank=rank, alpha=alpha or 2 * rank, learning_rate=learning_rate, epochs=epochs, most_steps=steps, max_tokens=max_tokens,
        evaluate_every=evaluate_every, checkpoint_every=checkpoint_every, patience=patience, seed=seed, quantisation=quantisation,
    )  # fmt: skip
    plan = Plan(
        name=name, data=data, collection=collection, base=base, options=options, description=description, licence=licence,
        command=shlex.join(["ckllm", "experts", "train", *_arguments(context)]), device=device, log_to=log_to, restart=restart,
        score_rows=score_rows,
    )  # fmt: skip
    settings = session(context).settings()
    with _shown() as progress:
        expert = run(settings, plan, progress, lambda text: typer.echo(text, err=True))
    if as_json:
        output.print_json(expert.as_json())
        return
    _print_comparison(expert.card.scores)
    typer.echo(f"installed {expert.name}: {expert.folder}")


def evaluate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The expert.", metavar="NAME")],
    data: Annotated[Path, typer.Option("--data", help='Rows as for training; "answers": [] where there is none.')],
    limit: Annotated[int, typer.Option(min=0, help="Only the first rows; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """Answers of an expert and of the base model to the same rows: exact match, F1, refusals.

    Give rows that the expert was not trained on: this command cannot know them.

    Example: ckllm experts evaluate contracts --data held-out.jsonl
    """
    from ckllm.experts.evaluation import read_tasks
    from ckllm.workshop import evaluate_expert

    settings = session(context).settings()
    tasks = read_tasks(data)
    tasks = tasks[:limit] if limit else tasks
    with _counting(2 * len(tasks)) as progress:
        report = evaluate_expert(settings, name, tasks, progress)
    if as_json:
        output.print_json(report)
    else:
        _print_comparison(report)


def prepare_data(
    context: typer.Context,
    data: Annotated[Path, typer.Option("--data", help='Training rows, each with a "category".', metavar="FILE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder; one file an expert is written there.", metavar="DIR")],
    foreign: Annotated[float, typer.Option(min=0.0, max=0.1, help="Share of other experts' rows in each file.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the sample and the order.")] = 0,
    as_json: Json = False,
) -> None:
    """Divide instruction data among experts by category, each with up to a tenth of the others' rows.

    Example: ckllm experts prepare-data --data instructions.jsonl --out experts-data
    """
    from ckllm.experts.training.data import SEGMENTS, read_category_rows, segments, write_rows

    session(context)
    rows = read_category_rows(data)
    known = {category for categories in SEGMENTS.values() for category in categories}
    left_out = sorted({category for category, _ in rows if category not in known})
    parts = segments(rows, foreign=foreign, seed=seed)
    if not parts:
        raise UsageError(f"no expert has the categories {', '.join(left_out)}: known are {', '.join(sorted(known))}")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for expert, own in sorted(parts.items()):
        write_rows(own, out / f"{expert}.jsonl")
        written.append({"expert": expert, "rows": len(own), "file": str((out / f"{expert}.jsonl").absolute())})
    if as_json:
        output.print_json({"experts": written, "left_out": left_out})
        return
    output.print_table(("expert", "rows", "file"), ([one["expert"], one["rows"], one["file"]] for one in written), empty="")
    if left_out:
        typer.echo(f"no expert has these categories, their rows were left out: {', '.join(left_out)}", err=True)


def _arguments(context: typer.Context) -> list[str]:
    """What was given on the command line, without paths of this machine above the last part."""
    given = [context.params["name"]]
    for option, value in context.params.items():
        default = next((p.default for p in context.command.params if p.name == option), None)
        if option in ("name", "as_json") or value in (None, False, "", default):
            continue
        shown = value.name if isinstance(value, Path) else Path(value).name if option == "base" else value
        given += [f"--{option.replace('_', '-')}", *([] if value is True else [str(shown)])]
    return given


def _print_comparison(scores: Any) -> None:
    """Expert and base side by side."""
    names = [name for name in ("loss", "f1", "exact", "refusal", "mean_words") if name in scores["expert"]]
    cells = ([name.replace("_", " "), scores["expert"][name], scores["base"].get(name, "")] for name in names)
    rows = ([name, *(f"{value:.3f}" if isinstance(value, float) else value for value in values)] for name, *values in cells)
    output.print_table((f"{scores['rows']} rows held out", "expert", "base"), rows, empty="")
    gain = scores.get("gain_f1")
    if gain:
        typer.echo(f"gain in F1 {gain['mean']:+.3f} (95 % interval {gain['low']:+.3f} to {gain['high']:+.3f})")


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """Loss and time left on stderr: a bar in a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=output.console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda at: bar.update(task, completed=at.step, total=at.steps, description=_told(at))


def _lines() -> Callable[[Progress], None]:
    last = [0.0]

    def line(at: Progress) -> None:
        if at.step == at.steps or at.validation_loss is not None or time.monotonic() - last[0] >= EVERY_S:
            last[0] = time.monotonic()
            typer.echo(f"step {at.step}/{at.steps}: {_told(at)}", err=True)

    return line


def _told(at: Progress) -> str:
    minutes, seconds = divmod(round(at.seconds_left), 60)
    valid = "" if at.validation_loss is None else f", validation {at.validation_loss:.3f}"
    return f"loss {at.loss:.3f}{valid}, {minutes}:{seconds:02d} left"


@contextmanager
def _counting(total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=output.console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answers", total=total)
        yield lambda done: bar.update(task, completed=done)
