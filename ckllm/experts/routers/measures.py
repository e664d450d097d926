"""Figures of a router: macro-F1, calibration error, area under the ROC curve, confusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def macro_f1(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> float:
    """Mean F1 over `labels`; a label that was neither meant nor said counts 0."""
    meant, chosen = Counter(gold), Counter(said)
    right = Counter(g for g, s in zip(gold, said, strict=True) if g == s)
    scores = [2 * right[label] / max(1, meant[label] + chosen[label]) for label in labels]
    return float(np.mean(scores)) if scores else 0.0


def auroc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float | None:
    """Probability that a positive scores above a negative, ties half (Mann-Whitney U); None where either is empty."""
    if not len(positives) or not len(negatives):
        return None
    together = np.concatenate([positives, negatives])
    _, inverse, counts = np.unique(together, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(positives), len(negatives)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) over bins of equal width."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = which == number
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)


def confusion(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Counts; rows are what was meant, columns what was said."""
    at = {label: number for number, label in enumerate(labels)}
    table = [[0] * len(labels) for _ in labels]
    for g, s in zip(gold, said, strict=True):
        table[at[g]][at[s]] += 1
    return table


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that sum to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
