"""`ckllm experts`: which experts exist, and which one a question goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session
from ckllm.errors import CkllmError, UsageError

if TYPE_CHECKING:
    from ckllm.contracts import Route

app = typer.Typer(help="List experts, and route questions to them.", no_args_is_help=True)
BAR = 24
"""Characters of a full bar."""


@app.command("list")
def list_experts(context: typer.Context, as_json: Json = False) -> None:
    """The experts that can answer.

    Example: ckllm experts list
    """
    from ckllm.experts.base import BASE
    from ckllm.experts.table import open_registry

    settings = session(context).settings()
    model = settings.llm.model
    rows = [{"name": BASE, "description": "the base model, as it is", "model": model}]
    rows += [
        {"name": one.name, "description": one.card.description, "model": one.card.model or model}
        for one in open_registry(settings)
    ]
    if as_json:
        output.print_json(rows)
    else:
        columns = ("name", "model", "description")
        output.print_table(columns, ([row[column] for column in columns] for row in rows), empty="No experts.")


@app.command("train-router")
def train_the_router(
    context: typer.Context,
    data: Annotated[Path, typer.Option("--data", help='JSON Lines of {"prompt", "label"}; out_of_scope: none.', metavar="FILE")],
    as_json: Json = False,
) -> None:
    """Learn from labelled questions which expert each is for; out_of_scope rows teach it when to abstain.

    Every figure that it prints was measured on questions held out from training.

    Example: ckllm experts train-router --data questions.jsonl
    """
    from ckllm.assembly import train_router

    report = train_router(session(context).settings(), data, lambda text: typer.echo(text, err=True))
    if as_json:
        output.print_json(report)
        return
    named = ("rows", "held_out_rows", "accuracy", "macro_f1", "out_of_scope_auroc", "calibration_error", "threshold", "seconds")
    cells = (
        (name.replace("_", " "), f"{report[name]:.3f}" if isinstance(report[name], float) else report[name]) for name in named
    )
    output.print_table(("held out", ""), cells, empty="")


@app.command("route")
def route_question(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="The question.", metavar="QUESTION")] = None,
    batch: Annotated[Path | None, typer.Option("--batch", help="A JSON Lines file of questions.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Which expert a question goes to, and why.

    Example: ckllm experts route "Write a function that sorts a list"
    """
    from ckllm.assembly import open_router
    from ckllm.experts.base import RouteRequest

    if (question is None) == (batch is None):
        raise UsageError("give either QUESTION or --batch FILE")
    router = open_router(session(context).settings())

    def route(text: str) -> Route:
        return router.route([RouteRequest(text)])[0]

    if batch is not None:
        for row in output.read_rows(batch, "question"):
            try:
                if "error" in row:
                    raise row["error"]
                output.print_json(({"id": row["id"]} if "id" in row else {}) | route(row["question"]).as_json())
            except CkllmError as error:
                output.print_json(output.error_row(row, "question", error))
        return
    assert question is not None
    if as_json:
        output.print_json(route(question).as_json())
    else:
        _print_route(route(question))


def _print_route(route: Route) -> None:
    out = output.console()
    for name, score in sorted(route.scores.items(), key=lambda pair: -pair[1]):
        out.print(f"{name:>16} {'█' * round(score * BAR):<{BAR}} {score:.2f}", markup=False)
    out.print(f"{route.expert}: {route.reason}", markup=False)
