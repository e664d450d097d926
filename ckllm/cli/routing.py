"""`ckllm experts route` and `train-router`: which expert a question goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ckllm.cli import batch as batch_rows
from ckllm.cli import output
from ckllm.cli.session import Json, session
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.contracts import Route

BAR = 24
"""Characters of a full bar."""
SHOWN = 12
"""Experts with a bar; a router may know hundreds."""


def train_the_router(
    context: typer.Context,
    data: Annotated[Path, typer.Option("--data", help='JSON Lines of {"prompt", "label"}; out_of_scope: none.', metavar="FILE")],
    strategy: Annotated[
        str, typer.Option("--strategy", help="head, or to compare with: centroid, nearest.", metavar="NAME")
    ] = "head",
    head: Annotated[
        str, typer.Option("--head", help="logistic, mlp, or auto: the better one on held-out questions.", metavar="NAME")
    ] = "logistic",
    seed: Annotated[int, typer.Option("--seed", help="Of the parts held out, and of mlp.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Learn from labelled questions which expert each is for; out_of_scope rows teach it when to abstain.

    Every figure that it prints was measured on questions held out from training.

    Example: ckllm experts train-router --data questions.jsonl
    """
    from ckllm.assembly import train_router

    report = train_router(session(context).settings(), data, lambda text: typer.echo(text, err=True), strategy, head, seed)
    if as_json:
        output.print_json(report)
        return
    named = (
        "rows", "held_out_rows", "accuracy", "macro_f1", "points_above_raw_means", "abstention", "false_abstention",
        "out_of_scope_auroc", "calibration_error", "threshold", "seconds",
    )  # fmt: skip
    cells = [(name.replace("_", " "), _shown(report[name])) for name in named]
    cells += [(f"{name} ms beyond the embedding", _shown(took)) for name, took in report["beyond_embedding_ms"].items()]
    cells += [(f"unchanged: {name}", _shown(share)) for name, share in report["unchanged_when_reworded"].items()]
    output.print_table(("held out", ""), cells, empty="")
    routers = {report["head"] or report["strategy"]: report} | report["beside"]
    compared = ("macro_f1", "macro_f1_without_abstention", "accuracy", "out_of_scope_auroc", "calibration_error")
    output.print_table(
        ("router", *(name.replace("_", " ") for name in compared), "unchanged"),
        ((name, *(_shown(one[key]) for key in compared), _shown(_kept(one))) for name, one in routers.items()),
        empty="",
    )
    languages = report["by_language"]
    if len(languages) > 1:
        rows = [(lang or "not said", one["rows"], _shown(one["accuracy"])) for lang, one in languages.items()]
        output.print_table(("language", "rows", "accuracy"), rows, empty="")


def _kept(router: dict[str, Any]) -> float | None:
    """The mean share of questions that keep their route when reworded."""
    shares = router["unchanged_when_reworded"].values()
    return sum(shares) / len(shares) if shares else None


def _shown(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value if value is not None else "no such rows"


def route_question(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="The question.", metavar="QUESTION")] = None,
    batch: Annotated[Path | None, typer.Option("--batch", help="A JSON Lines file of questions.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Which expert a question goes to, why, and what it would take for the base model to answer instead.

    Example: ckllm experts route "Write a function that sorts a list"
    """
    from ckllm.asking import checked_question
    from ckllm.assembly import open_router
    from ckllm.experts.base import RouteRequest

    if (question is None) == (batch is None):
        raise UsageError("give either QUESTION or --batch FILE")
    router = open_router(session(context).settings())

    def route(text: str) -> Route:
        return router.route([RouteRequest(checked_question(text))])[0]

    if batch is not None:
        batch_rows.answer_each(batch, "question", lambda text: route(text).as_json())
        return
    assert question is not None
    found = route(question)
    if as_json:
        output.print_json(found.as_json())
    else:
        _print_route(found)


def _print_route(route: Route) -> None:
    out = output.console()
    ranked = sorted(route.scores.items(), key=lambda pair: (-pair[1], pair[0]))
    width = max(len(name) for name, _ in ranked)
    for name, score in ranked[:SHOWN]:
        chosen = name == route.expert
        out.print(
            f"{'→' if chosen else ' '} {name:>{width}} {'█' * round(score * BAR):<{BAR}} {score:.2f}",
            markup=False,
            style="bold" if chosen else "",
        )
    if len(ranked) > SHOWN:
        out.print(f"  … and {len(ranked) - SHOWN} more", markup=False)
    out.print(f"{route.expert}: {route.reason}", markup=False)
    out.print(abstention(route), markup=False)


def abstention(route: Route) -> str:
    """What it would have taken for the base model to answer, or for an expert to, in words."""
    if route.threshold is None:
        return f"The {route.strategy} router knows no doubt: it never gives a question back to the base model."
    apart = abs(route.confidence - route.threshold)
    if route.confidence < route.threshold:
        return f"An expert would have answered with {apart:.2f} more confidence."
    return f"The base model would have answered with {apart:.2f} less confidence."
