"""What routers say of questions that they were not trained on, as typed and as somebody else would type them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors

FOLDS = 5
CROSS_VALIDATED = 4_000
"""Rows up to which every one is held out once; of more, one fifth is."""
ABSENT = -30.0
"""Logit of a label that has no example outside the part held out."""


class Fitted(Protocol):
    """A scorer that was fitted, before calibration."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """(texts, labels)"""


Fit: TypeAlias = Callable[[Sequence[str], Vectors, Sequence[str]], Fitted]
"""texts, vectors (texts, dimension), gold labels → a scorer."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled questions and their embeddings."""

    texts: Sequence[str]
    vectors: Vectors
    gold: Sequence[str]

    def part(self, rows: NDArray[np.int64]) -> Examples:
        return Examples([self.texts[n] for n in rows], self.vectors[rows], [self.gold[n] for n in rows])


@dataclass(frozen=True, slots=True)
class Reworded:
    """Some of the questions, typed in another way."""

    rows: NDArray[np.int64]
    """Which of the examples."""
    texts: Sequence[str]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Logits of scorers that did not see the question."""

    rows: NDArray[np.int64]
    """Which of the examples were held out."""
    labels: tuple[str, ...]
    logits: NDArray[np.float64]
    """(rows, labels)"""
    reworded: Mapping[str, NDArray[np.float64]]
    """Name of the rewording → (its rows, labels)."""


def parts_held_out(gold: Sequence[str], seed: int) -> list[NDArray[np.int64]]:
    """The rows that are held out together: five parts, or the first of them where there are many rows."""
    folds = stratified_folds(gold, FOLDS, seed)
    return [np.flatnonzero(folds == number) for number in range(FOLDS if len(gold) <= CROSS_VALIDATED else 1)]


def held_out(
    fit: Fit, examples: Examples, parts: Sequence[NDArray[np.int64]], reworded: Mapping[str, Reworded] | None = None
) -> HeldOut:
    """Fit on everything but a part, score the part; for each part."""
    labels, changed = tuple(sorted(set(examples.gold))), reworded or {}
    every = np.arange(len(examples.texts))
    logits = np.full((len(every), len(labels)), ABSENT)
    moved = {name: np.full((len(one.rows), len(labels)), ABSENT) for name, one in changed.items()}
    for part in parts:
        rest = examples.part(np.setdiff1d(every, part))
        scorer, asked = fit(rest.texts, rest.vectors, rest.gold), examples.part(part)
        columns = np.array([labels.index(label) for label in scorer.labels])
        logits[np.ix_(part, columns)] = scorer.logits(asked.texts, asked.vectors)
        for name, one in changed.items():
            inside = np.flatnonzero(np.isin(one.rows, part))
            if len(inside):
                texts = [one.texts[n] for n in inside.tolist()]
                moved[name][np.ix_(inside, columns)] = scorer.logits(texts, one.vectors[inside])
    held = np.sort(np.concatenate(parts))
    return HeldOut(held, labels, logits[held], moved)


def stratified_folds(gold: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """(rows,) the fold of each row; every label is spread over all folds as evenly as it can be."""
    rng = np.random.default_rng(seed)
    labels, folds = np.array(gold), np.zeros(len(gold), np.int64)
    for label in sorted(set(gold)):
        rows = np.flatnonzero(labels == label)
        rng.shuffle(rows)
        folds[rows] = (np.arange(len(rows)) + int(rng.integers(count))) % count
    return folds
