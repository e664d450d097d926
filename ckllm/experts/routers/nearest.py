"""The router that compares a question with every example (k nearest neighbours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors
from ckllm.experts.routers.features import centred

NEIGHBOURS = 10
SHARPNESS = 0.1
"""A neighbour counts exp(cosine / SHARPNESS)."""
BLOCK = 256
"""Questions compared at once: with tens of thousands of examples a table of all would not fit into memory."""
FLOOR = 1e-3
"""Share of the votes that every label gets, so that none is impossible."""


@dataclass(frozen=True, slots=True)
class NearestScorer:
    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    examples: NDArray[np.float32]
    """(examples, dimension), centred, unit length."""
    owner: NDArray[np.int64]
    """(examples,) index into `labels`."""
    temperature: float = 1.0
    strategy: str = "nearest"

    @classmethod
    def fit(cls, texts: Sequence[str], vectors: Vectors, gold: Sequence[str]) -> NearestScorer:  # noqa: ARG003 - as every scorer
        labels, mean = tuple(sorted(set(gold))), vectors.mean(axis=0)
        at = {label: number for number, label in enumerate(labels)}
        return cls(labels, mean, centred(vectors, mean), np.array([at[g] for g in gold]))

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:  # noqa: ARG002 - as every scorer
        """(texts, labels): logarithm of each label's share of the neighbours' votes."""
        blocks = [self._block(vectors[at : at + BLOCK]) for at in range(0, len(vectors), BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.labels)))

    def _block(self, vectors: Vectors) -> NDArray[np.float64]:
        points = centred(vectors, self.mean)
        # BLAS shares even the product of one question out to its threads, which take longer to wake than the product takes.
        cosines = np.vecdot(self.examples, points)[np.newaxis] if len(points) == 1 else points @ self.examples.T
        count = min(NEIGHBOURS, cosines.shape[1])
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        votes = np.zeros((len(vectors), len(self.labels)))
        for row, columns in enumerate(near):
            np.add.at(votes[row], self.owner[columns], np.exp(cosines[row, columns].astype(np.float64) / SHARPNESS))
        shares = votes / votes.sum(axis=1, keepdims=True)
        return np.asarray(np.log((1 - FLOOR) * shares + FLOOR / len(self.labels)))

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        raised = np.exp(self.logits(texts, vectors) / self.temperature)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything but labels and temperature; examples in half precision."""
        return {"mean": self.mean, "examples": self.examples.astype(np.float16), "owner": self.owner}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], labels: Sequence[str], temperature: float) -> NearestScorer:
        mean, examples = (arrays[name].astype(np.float32) for name in ("mean", "examples"))
        return cls(tuple(labels), mean, examples, arrays["owner"].astype(np.int64), temperature)
