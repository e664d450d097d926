"""Routers that compare a question with the middles of each expert's examples.

`CentroidScorer` centres and normalises, and keeps several seeded k-means centres an expert; `RawMeanScorer` is Herd's way
(the plain mean of the embeddings), kept as the baseline that the others are measured against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors
from ckllm.experts.routers.features import centred
from ckllm.experts.routers.measures import softmax

CENTRES = 4
"""Centres an expert, fewer where it has few examples."""
EXAMPLES_A_CENTRE = 5
ROUNDS = 20
SHARPNESS = 0.05
"""Temperature of the softmax over cosines before calibration."""


@dataclass(frozen=True, slots=True)
class CentroidScorer:
    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    centres: NDArray[np.float32]
    """(centres, dimension), unit length."""
    owner: NDArray[np.int64]
    """(centres,) index into `labels`."""
    temperature: float = 1.0
    strategy: str = "centroid"

    @classmethod
    def fit(cls, texts: Sequence[str], vectors: Vectors, gold: Sequence[str], seed: int = 0) -> CentroidScorer:  # noqa: ARG003 - as every scorer
        labels, mean = tuple(sorted(set(gold))), vectors.mean(axis=0)
        points = centred(vectors, mean)
        centres, owner = [], []
        for number, label in enumerate(labels):
            own = points[[g == label for g in gold]]
            found = k_means(own, max(1, min(CENTRES, len(own) // EXAMPLES_A_CENTRE)), seed)
            centres.append(found)
            owner += [number] * len(found)
        return cls(labels, mean, np.concatenate(centres), np.array(owner))

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:  # noqa: ARG002 - as every scorer
        """(texts, labels): cosine with the nearest centre of each expert."""
        cosines = centred(vectors, self.mean) @ self.centres.T
        return np.asarray(nearest_of(cosines, self.owner, len(self.labels)) / SHARPNESS)

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        return softmax(self.logits(texts, vectors) / self.temperature)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything but labels and temperature."""
        return {"mean": self.mean, "centres": self.centres, "owner": self.owner}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], labels: Sequence[str], temperature: float) -> CentroidScorer:
        mean, centres = (arrays[name].astype(np.float32) for name in ("mean", "centres"))
        return cls(tuple(labels), mean, centres, arrays["owner"].astype(np.int64), temperature)


@dataclass(frozen=True, slots=True)
class RawMeanScorer:
    """Nearest raw mean by Euclidean distance."""

    labels: tuple[str, ...]
    means: NDArray[np.float32]
    temperature: float = 1.0
    strategy: str = "raw-mean"

    @classmethod
    def fit(cls, texts: Sequence[str], vectors: Vectors, gold: Sequence[str]) -> RawMeanScorer:  # noqa: ARG003 - as every scorer
        labels = tuple(sorted(set(gold)))
        return cls(labels, np.stack([vectors[[g == label for g in gold]].mean(axis=0) for label in labels]))

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:  # noqa: ARG002 - as every scorer
        points, means = vectors.astype(np.float64), self.means.astype(np.float64)
        squares = (points**2).sum(axis=1)[:, None] - 2 * points @ means.T + (means**2).sum(axis=1)
        return np.asarray(-np.sqrt(np.maximum(squares, 0)) / SHARPNESS)

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        return softmax(self.logits(texts, vectors) / self.temperature)


def k_means(points: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Spherical k-means with k-means++ seeding: (count, dimension) of unit length; the same seed gives the same centres."""
    rng = np.random.default_rng(seed)
    centres = points[[int(rng.integers(len(points)))]]
    while len(centres) < count:
        far = np.maximum(1 - (points @ centres.T).max(axis=1), 1e-9)
        centres = np.concatenate([centres, points[[int(rng.choice(len(points), p=far / far.sum()))]]])
    for _ in range(ROUNDS):
        which = (points @ centres.T).argmax(axis=1)
        moved = np.stack([points[which == n].mean(axis=0) if (which == n).any() else centres[n] for n in range(count)])
        moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
        if np.allclose(moved, centres):
            break
        centres = moved.astype(np.float32)
    return centres


def nearest_of(cosines: NDArray[np.float32], owner: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """(questions, labels): the largest cosine among the columns that each label owns."""
    result = np.full((len(cosines), labels), -1.0)
    for number in range(labels):
        result[:, number] = cosines[:, owner == number].max(axis=1)
    return result
