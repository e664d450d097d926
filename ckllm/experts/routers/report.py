"""What is reported of a router: held-out figures, calibrated on the same questions, and how often a rewording moves a route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm.experts.base import BASE
from ckllm.experts.routers import measures
from ckllm.experts.routers.calibration import decide, fit_temperature, fit_threshold
from ckllm.experts.routers.held_out import HeldOut, Reworded
from ckllm.experts.routers.scoring import read

FEWEST = 10
"""Rows below which a label is left out of macro-F1: such a figure would be chance."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A router's calibration, and what it is worth."""

    temperature: float
    threshold: float
    figures: dict[str, Any]


def judge(held: HeldOut, gold: Sequence[str], langs: Sequence[str], reworded: Mapping[str, Reworded]) -> Judged:
    """Calibrate on held-out logits, and report on them. `gold` and `langs` are of all examples, held out or not."""
    asked, spoken = [gold[n] for n in held.rows], [langs[n] for n in held.rows]
    temperature = fit_temperature(held.logits, np.array([held.labels.index(label) for label in asked]))
    table = measures.softmax(held.logits / temperature)
    threshold = fit_threshold(np.array([read(held.labels, row).confidence for row in table]), asked)
    place = {int(row): number for number, row in enumerate(held.rows)}
    unchanged = {}
    for name, one in reworded.items():
        before = _routes(held.labels, table[[place[int(row)] for row in one.rows]], threshold)
        after = _routes(held.labels, measures.softmax(held.reworded[name] / temperature), threshold)
        unchanged[name] = _mean([b == a for b, a in zip(before, after, strict=True)])
    report = figures(asked, spoken, held.labels, table, threshold)
    return Judged(temperature, threshold, report | {"unchanged_when_reworded": unchanged})


def figures(
    gold: Sequence[str], langs: Sequence[str], labels: Sequence[str], table: NDArray[np.float64], threshold: float
) -> dict[str, Any]:
    """What is reported of probabilities `table` (rows, labels) for labelled rows at a threshold."""
    found = [read(labels, row) for row in table]
    confidence = np.array([one.confidence for one in found])
    forced = [one.label for one in found]
    said = decide(confidence, forced, threshold)
    inside = np.array([g != BASE for g in gold])
    counts = Counter(gold)
    most = max((count for label, count in counts.items() if label != BASE), default=0)
    known = sorted(label for label in counts if label != BASE and counts[label] >= min(FEWEST, most))
    told_apart = set(known)
    counted = [n for n, g in enumerate(gold) if g in told_apart]
    every = sorted({*gold, *said, BASE})
    top = table.argmax(axis=1)
    return {
        "accuracy": _mean([gold[n] == said[n] for n in counted]),
        "macro_f1": measures.macro_f1([gold[n] for n in counted], [said[n] for n in counted], known),
        "macro_f1_without_abstention": measures.macro_f1([gold[n] for n in counted], [forced[n] for n in counted], known),
        "labels_counted": known,
        "abstention": _mean([s == BASE for s, i in zip(said, inside, strict=True) if not i]),
        "false_abstention": _mean([said[n] == BASE for n in counted]),
        "out_of_scope_auroc": measures.auroc(confidence[inside], confidence[~inside]),
        "calibration_error": measures.calibration_error(
            table.max(axis=1), np.array([labels[t] == g for t, g in zip(top, gold, strict=True)])
        ),
        "by_language": _by_language(gold, langs, said, counted),
        "confusion": {"labels": every, "counts": measures.confusion(gold, said, every)},
    }


def _routes(labels: Sequence[str], table: NDArray[np.float64], threshold: float) -> list[str]:
    found = [read(labels, row) for row in table]
    return decide(np.array([one.confidence for one in found]), [one.label for one in found], threshold)


def _by_language(
    gold: Sequence[str], langs: Sequence[str], said: Sequence[str], counted: Sequence[int]
) -> dict[str, dict[str, float | int | None]]:
    of = {lang: [n for n in counted if langs[n] == lang] for lang in sorted({langs[n] for n in counted})}
    return {lang: {"rows": len(ns), "accuracy": _mean([gold[n] == said[n] for n in ns])} for lang, ns in of.items()}


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None
