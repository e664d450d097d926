"""The trained router: a classifier on a question's embedding, style and n-grams, and the nearest examples.

The classifier is a logistic regression or a perceptron with one hidden layer.

The classifier finds what divides the experts; the neighbours know what it cannot draw a line around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors
from ckllm.errors import UsageError
from ckllm.experts.routers import logistic, perceptron
from ckllm.experts.routers.features import BUCKETS, QuestionFeatures
from ckllm.experts.routers.logistic import Linear
from ckllm.experts.routers.measures import softmax
from ckllm.experts.routers.nearest import NearestScorer
from ckllm.experts.routers.perceptron import Perceptron
from ckllm.experts.routers.rewording import REWORDINGS

NEIGHBOUR_WEIGHT = 0.6
"""How far the neighbours' log-odds count beside the classifier's, chosen by cross-validation (`benchmarks/experts.py router`)."""
PRIOR_WEIGHT = 0.3
"""How much of the difference in how often the experts are meant is taken away again: the rare ones count as much."""
HEADS = ("logistic", "mlp")
"""What the classifier can be."""
REWORDED = 4_000
"""Examples up to which the classifier also sees them reworded; more of them hold enough ways of writing."""


@dataclass(frozen=True, slots=True)
class HeadScorer:
    labels: tuple[str, ...]
    features: QuestionFeatures
    model: Linear | Perceptron
    neighbours: NearestScorer
    temperature: float = 1.0
    strategy: str = "head"

    @classmethod
    def fit(
        cls, texts: Sequence[str], vectors: Vectors, gold: Sequence[str], kind: str = "logistic", seed: int = 0
    ) -> HeadScorer:
        """Without calibration: the temperature is 1. Reworded examples keep the embedding of the original: it hardly moves.

        `kind` is one of HEADS, UsageError for another; `seed` is of the perceptron's starting weights.
        """
        if kind not in HEADS:
            raise UsageError(f"no head is called {kind!r}: {', '.join(HEADS)}")
        labels = tuple(sorted(set(gold)))
        at = {label: number for number, label in enumerate(labels)}
        features = QuestionFeatures.fit(vectors, texts)
        classes = np.array([at[label] for label in gold], np.int64)
        forms = [list(texts)]
        if len(texts) <= REWORDED:
            forms += [[change(text) for text in texts] for change in REWORDINGS]
        dense = np.concatenate([features.dense(vectors, form) for form in forms])
        ngrams = features.ngrams([text for form in forms for text in form])
        known = np.tile(classes, len(forms))
        model: Linear | Perceptron
        if kind == "mlp":
            model = perceptron.fit(dense, ngrams, known, len(labels), BUCKETS, seed)
        else:
            model = logistic.fit(dense, ngrams, known, len(labels), BUCKETS)
        rarity = PRIOR_WEIGHT * np.log(np.bincount(classes, minlength=len(labels)) / len(classes))
        model = replace(model, bias=(model.bias - rarity).astype(np.float32))
        return cls(labels, features, model, NearestScorer.fit(texts, vectors, gold))

    def logits(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """(texts, labels)"""
        own = self.model.logits(self.features.dense(vectors, texts), self.features.ngrams(texts))
        return np.asarray(own + NEIGHBOUR_WEIGHT * self.neighbours.logits(texts, vectors))

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        return softmax(self.logits(texts, vectors) / self.temperature)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything but labels and temperature; weights of n-grams and examples in half precision."""
        first = self.model.hidden if isinstance(self.model, Perceptron) else self.model
        arrays: dict[str, NDArray[np.generic]] = {
            "mean": self.features.mean,
            "idf": self.features.idf.astype(np.float16),
            "style_mean": self.features.style_mean,
            "style_deviation": self.features.style_deviation,
            "dense": first.dense,
            "hashed": first.hashed.astype(np.float16),
            "place": first.place,
            "bias": first.bias,
            "examples": self.neighbours.examples.astype(np.float16),
            "owner": self.neighbours.owner,
        }
        return arrays | ({"out": self.model.out, "out_bias": self.model.bias} if isinstance(self.model, Perceptron) else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], labels: Sequence[str], temperature: float) -> HeadScorer:
        statistics = ("mean", "idf", "style_mean", "style_deviation")
        features = QuestionFeatures(*(arrays[name].astype(np.float32) for name in statistics))
        first = Linear(
            arrays["dense"].astype(np.float32),
            arrays["hashed"].astype(np.float32),
            arrays["place"].astype(np.int32),
            arrays["bias"].astype(np.float32),
        )
        model: Linear | Perceptron = first
        if "out" in arrays:
            model = Perceptron(first, arrays["out"].astype(np.float32), arrays["out_bias"].astype(np.float32))
        examples, owner = arrays["examples"].astype(np.float32), arrays["owner"].astype(np.int64)
        neighbours = NearestScorer(tuple(labels), features.mean, examples, owner)
        return cls(tuple(labels), features, model, neighbours, temperature)
