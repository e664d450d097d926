"""What keeps a change from going live: figures below a bar, or below those of an earlier run by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ckllm.errors import DataError, UsageError
from ckllm.evaluation.metrics import paired_bootstrap
from ckllm.evaluation.run import LOWER_IS_BETTER, Report

FEWEST = 5
"""Rows that both runs must have for a figure to be compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, then and now, over the questions that both runs measured it on; the interval is of the difference."""

    metric: str
    rows: int
    before: float
    after: float
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """better or worse where the interval leaves 0 out, else same."""
        return "worse" if self.high < 0 else "better" if self.low > 0 else "same"

    def as_json(self) -> dict[str, Any]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()} | {"verdict": self.verdict}


def changes(before: Report, after: Report) -> list[Change]:
    """Every figure of single questions that both runs have. DataError where they have no question in common."""
    old = {row.id: row for row in before.rows}
    pairs = [(old[row.id], row) for row in after.rows if row.id in old and old[row.id].question == row.question]
    if not pairs:
        raise DataError("the baseline has no question of this set: it is a run over other questions")
    names = dict.fromkeys(name for one, other in pairs for name in one.scores if name in other.scores)
    result = []
    for name in names:
        both = [(one.scores[name], other.scores[name]) for one, other in pairs if name in one.scores and name in other.scores]
        if len(both) < FEWEST:
            continue
        found = paired_bootstrap([one for one, _ in both], [other for _, other in both])
        means = [sum(values) / len(both) for values in zip(*both, strict=True)]
        result.append(Change(name, found.rows, means[0], means[1], found.mean, found.low, found.high))
    return result


def bars(given: Sequence[str]) -> dict[str, float]:
    """`METRIC=VALUE` options. UsageError for one that is not, or whose figure should be small."""
    result = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            result[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--fail-below {text}: give METRIC=VALUE, for example recall@5=0.9") from None
        if not equals or not name.strip():
            raise UsageError(f"--fail-below {text}: give METRIC=VALUE, for example recall@5=0.9")
        if name.strip().startswith(LOWER_IS_BETTER):
            raise UsageError(f"--fail-below {text}: {name.strip()} is better the smaller it is, so it cannot fail below a value")
    return result


def below(report: Report, wanted: Mapping[str, float]) -> list[str]:
    """What is below its bar, or was not measured, in words."""
    complaints = []
    for name, value in wanted.items():
        found = report.metrics.get(name)
        if found is None:
            known = ", ".join(metric for metric in report.metrics if not metric.startswith(LOWER_IS_BETTER))
            complaints.append(f"{name} was not measured on this set: there are {known}")
        elif found < value:
            complaints.append(f"{name} = {found:.4f} is below {value:g}")
    return complaints
