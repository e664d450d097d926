"""`ckllm complete`, `ckllm batch` and `ckllm benchmark`: the language model by itself, without documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, Session, session

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
