"""The trained router: a linear softmax classifier on the question's embedding and its n-grams, and the nearest examples.

The classifier finds what divides the experts; the neighbours know what it cannot draw a line around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors
from ckllm.experts.routers.features import BUCKETS, QuestionFeatures
from ckllm.experts.routers.logistic import Logistic, fit
from ckllm.experts.routers.measures import softmax
from ckllm.experts.routers.nearest import NearestScorer

NEIGHBOUR_WEIGHT = 0.6
"""How far the neighbours' log-odds count beside the classifier's, chosen by cross-validation (`benchmarks/experts.py router`)."""


@dataclass(frozen=True, slots=True)
class HeadScorer:
    labels: tuple[str, ...]
    features: QuestionFeatures
    model: Logistic
    neighbours: NearestScorer
    temperature: float = 1.0
    strategy: str = "head"

    @classmethod
    def fit(cls, texts: Sequence[str], vectors: Vectors, gold: Sequence[str]) -> HeadScorer:
        """Without calibration: the temperature is 1."""
        labels = tuple(sorted(set(gold)))
        at = {label: number for number, label in enumerate(labels)}
        features = QuestionFeatures.fit(vectors, texts)
        classes = np.array([at[label] for label in gold], np.int64)
        model = fit(features.dense(vectors), features.ngrams(texts), classes, len(labels), BUCKETS)
        return cls(labels, features, model, NearestScorer.fit(texts, vectors, gold))

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """(texts, labels)"""
        linear = self.model.logits(self.features.dense(vectors), self.features.ngrams(texts))
        return np.asarray(linear + NEIGHBOUR_WEIGHT * self.neighbours.logits(texts, vectors))

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        return softmax(self.logits(texts, vectors) / self.temperature)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything but labels and temperature; weights of n-grams and examples in half precision."""
        return {
            "mean": self.features.mean,
            "idf": self.features.idf.astype(np.float16),
            "dense": self.model.dense,
            "hashed": self.model.hashed.astype(np.float16),
            "place": self.model.place,
            "bias": self.model.bias,
            "examples": self.neighbours.examples.astype(np.float16),
            "owner": self.neighbours.owner,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], labels: Sequence[str], temperature: float) -> HeadScorer:
        features = QuestionFeatures(arrays["mean"].astype(np.float32), arrays["idf"].astype(np.float32))
        model = Logistic(
            arrays["dense"].astype(np.float32),
            arrays["hashed"].astype(np.float32),
            arrays["place"].astype(np.int32),
            arrays["bias"].astype(np.float32),
        )
        examples, owner = arrays["examples"].astype(np.float32), arrays["owner"].astype(np.int64)
        neighbours = NearestScorer(tuple(labels), features.mean, examples, owner)
        return cls(tuple(labels), features, model, neighbours, temperature)
