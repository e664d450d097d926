"""What the routers that compare a question with examples have in common: scores in, a route with its reason out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ckllm.contracts import Route
from ckllm.embedding.base import Embedder, Vectors
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.mixing import mixture
from ckllm.standalone import standalone_query


class Scorer(Protocol):
    """Probabilities of experts for questions. A scorer that knows questions for no expert has BASE among its labels."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def strategy(self) -> str: ...

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """(texts, labels), rows sum to 1."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Scores of one question, read."""

    label: str
    confidence: float
    """Probability that one of the experts is meant, where the scorer knows BASE; else that this one is."""
    runner_up: str
    margin: float


class ScoredRouter:
    """Routes by a scorer and a threshold; below it the base model answers. The embedder is opened with the first question."""

    def __init__(self, scorer: Scorer, threshold: float, embedder: Callable[[], Embedder]) -> None:
        self._scorer, self._threshold, self._embedder = scorer, threshold, embedder

    @property
    def labels(self) -> tuple[str, ...]:
        return self._scorer.labels

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        texts = [routing_text(request) for request in requests]
        if not texts:
            return []
        return self.route_vectors(requests, self._embedder().embed(texts, "query"))

    def route_vectors(self, requests: Sequence[RouteRequest], vectors: Vectors) -> list[Route]:
        """Routes for questions that were embedded before; `vectors` (requests, dimension) with purpose query."""
        table = self._scorer.probabilities([routing_text(request) for request in requests], vectors)
        return routes(requests, self._scorer.labels, table, self._threshold, self._scorer.strategy)


def routes(
    requests: Sequence[RouteRequest], labels: Sequence[str], table: NDArray[np.float64], threshold: float, strategy: str
) -> list[Route]:
    """What probabilities `table` (requests, labels) say of each question."""
    result = []
    for request, row in zip(requests, table, strict=True):
        scores = {label: round(float(p), 6) for label, p in zip(labels, row, strict=True)}
        scores.setdefault(BASE, 0.0)
        found = read(labels, row)
        sure = found.confidence >= threshold
        weights = mixture({k: v for k, v in scores.items() if k != BASE}, request.top_experts) if sure else {BASE: 1.0}
        result.append(
            Route(
                expert=found.label if sure else BASE,
                confidence=round(found.confidence, 6),
                scores=scores,
                weights=weights,
                strategy=strategy,
                reason=_reason(found, threshold, sure),
                threshold=round(threshold, 6),
            )
        )
    return result


def routing_text(request: RouteRequest) -> str:
    """The question, after the one that it follows up where it does not stand alone. Nothing else is ever looked at."""
    return standalone_query(request.question, request.history)


def read(labels: Sequence[str], row: NDArray[np.float64]) -> Decision:
    """The best expert of one row of probabilities, and how sure that is."""
    experts = [number for number, label in enumerate(labels) if label != BASE]
    order = sorted(experts, key=lambda number: -row[number])
    best = order[0]
    second = order[1] if len(order) > 1 else best
    confidence = 1 - float(row[list(labels).index(BASE)]) if BASE in labels else float(row[best])
    return Decision(labels[best], confidence, labels[second], float(row[best] - row[second]) if second != best else 1.0)


def _reason(found: Decision, threshold: float, sure: bool) -> str:
    if not sure:
        doubt = f"the confidence {found.confidence:.2f} is below {threshold:.2f}"
        return f"nearest to {found.label}, but {doubt}: the base model answers"
    ahead = f", {found.margin:.2f} ahead of {found.runner_up}" if found.runner_up != found.label else ""
    return (
        f"nearest to {found.label}{ahead}; confidence {found.confidence:.2f}, the base model would answer below {threshold:.2f}"
    )
