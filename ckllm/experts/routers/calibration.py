"""From logits to honest probabilities, and to the point below which the base model answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ckllm.experts.base import BASE
from ckllm.experts.routers.measures import softmax

FALSE_ABSTENTION = 0.03
"""The share of questions for a known expert that may go to base: what abstention costs."""

HIGHEST = 0.9
"""No threshold lies above it: held-out questions that are all told apart with certainty say nothing about less plain ones."""


def fit_temperature(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The divisor of the logits that makes held-out classes likeliest (Guo et al. 2017), between 0.05 and 20."""
    rows = np.arange(len(classes))

    def cost(log_temperature: float) -> float:
        return float(-np.log(softmax(logits / np.exp(log_temperature))[rows, classes] + 1e-12).mean())

    low, high, golden = np.log(0.05), np.log(20.0), (np.sqrt(5) - 1) / 2
    for _ in range(40):
        first, second = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, second) if cost(first) < cost(second) else (first, high)
    return float(np.exp((low + high) / 2))


def fit_threshold(confidence: NDArray[np.float64], gold: Sequence[str]) -> float:
    """The least confidence at which an expert answers: FALSE_ABSTENTION of the questions for an expert lie below it.

    `gold` is BASE for questions that no expert is for. Where there are none, nothing shows what lies outside, and an expert
    that is likelier than all others together is never doubted.
    """
    inside = confidence[[label != BASE for label in gold]]
    threshold = float(np.quantile(inside, FALSE_ABSTENTION)) if len(inside) else 0.0
    return min(threshold, HIGHEST if BASE in gold else 0.5)


def decide(confidence: NDArray[np.float64], said: Sequence[str], threshold: float) -> list[str]:
    """The expert, or BASE where the confidence lies below the threshold."""
    return [label if sure >= threshold else BASE for label, sure in zip(said, confidence, strict=True)]
