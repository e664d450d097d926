"""An evaluation as one HTML file that needs nothing else: no script, no network, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from ckllm.evaluation.compare import Change
from ckllm.evaluation.run import LOWER_IS_BETTER, Report, Row

SHOWN = 200
"""Questions on the page, worst first."""
_LEFT, _TOP, _WIDTH, _HEIGHT = 40, 10, 290, 190
"""Of the plot, in the units of the picture."""


def page(report: Report, changes: Sequence[Change] = (), complaints: Sequence[str] = ()) -> str:
    from jinja2 import Environment

    template = resources.files("ckllm.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    rows = sorted(report.rows, key=_badness, reverse=True)
    environment = Environment(autoescape=True)
    return environment.from_string(template).render(
        about=report.about,
        metrics=report.metrics,
        counts=report.counts,
        by_language=report.by_language,
        statement_languages=[lang for lang in report.statements if lang],
        language_metrics=[name for name in report.metrics if not name.startswith(LOWER_IS_BETTER)],
        statements=_statements(report),
        changes=changes,
        complaints=complaints,
        path=_path(report.curve),
        points=[(name, f"{_across(x):.1f}", f"{_down(y):.1f}", x, y) for name, (x, y) in report.points.items()],
        rows=rows[:SHOWN],
        hidden=max(0, len(rows) - SHOWN),
    )


def _statements(report: Report) -> list[tuple[str, list[Sequence[int]]]]:
    """(kind, (accepted, statements) in all and in each language); a language without any has (0, 0)."""
    everywhere = report.statements.get("", {})
    return [(kind, [own.get(kind, (0, 0)) for own in report.statements.values()]) for kind in everywhere]


def _badness(row: Row) -> float:
    if row.error:
        return 3.0
    return (1 - row.scores.get("decision", 1)) + (1 - row.scores.get("f1", 1)) + 0.5 * (1 - row.scores.get("recall@1", 1))


def _path(curve: Sequence[tuple[float, float]]) -> str:
    """The curve as an SVG path, "" for less than two points."""
    places = [f"{_across(x):.1f} {_down(y):.1f}" for x, y in curve]
    return "M" + "L".join(places) if len(places) > 1 else ""


def _across(coverage: float) -> float:
    return _LEFT + _WIDTH * coverage


def _down(risk: float) -> float:
    return _TOP + _HEIGHT * (1 - risk)
