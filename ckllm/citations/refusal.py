"""Does the evidence answer the question at all? One probability from two signals, and a reason in words.

`closeness`: how far the best evidence sentence is on the way from unrelated to identical with the question. Cosines of
different embedders, and of different languages within one, lie in different ranges (0.75 is unrelated for E5, close for
MiniLM), so the question is also compared with a fixed cohort of sentences about other things, as speaker verification
normalises its scores (T-norm, Auckenthaler et al. 2000): closeness = (best − mean of cohort) / (1 − mean of cohort).

`coverage`: the share of the question's content words, weighted by rarity, that stand in the evidence.

A logistic function of both gives the probability that the question can be answered; `caution` says how much is asked for.
Weights and thresholds are calibrated by `benchmarks/answers.py --calibrate`; the derivation is in docs/decisions.md.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ckllm.embedding.base import Embedder, Vectors

COHORT = (
    "The recipe asks for two cups of flour and a pinch of salt.",
    "The match ended in a draw after extra time.",
    "Rain is expected in the north tomorrow afternoon.",
    "The patient was given a second dose after six hours.",
    "Click the button to save your changes and close the window.",
    "The orchestra played the symphony in the old town hall.",
    "Shares of the company fell by four percent on Monday.",
    "The cat slept on the warm roof all day long.",
    "La biblioteca cierra los domingos y los días festivos.",
    "Der Zug nach Hamburg hat heute zwanzig Minuten Verspätung.",
    "Le contrat doit être signé avant la fin du mois.",
    "किसान ने खेत में गेहूँ की नई फसल बोई।",
    "दुकान सुबह नौ बजे खुलती है।",
    "这家餐厅的面条非常好吃。",
    "سافر الوزير إلى العاصمة لحضور الاجتماع.",
    "Она купила билеты в театр на вечерний спектакль.",
)
"""Sentences about nothing in particular, in several languages and scripts."""

BIAS, CLOSENESS_WEIGHT, COVERAGE_WEIGHT = -4.0, 6.0, 3.0
THRESHOLDS: Mapping[str, float] = {"strict": 0.6, "balanced": 0.4, "open": 0.2}
"""The least probability that is answered at each level of `answer.caution`."""


@dataclass(frozen=True, slots=True)
class Answerability:
    """`probability` 0 to 1; `reason` is "" where the question is to be answered, else one sentence that says why not."""

    probability: float
    closeness: float
    coverage: float
    reason: str = ""


class RefusalPolicy:
    """Decides from the evidence whether to answer. Embeds its cohort once, when first asked. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, caution: str) -> None:
        self._embedder = embedder
        self._threshold = THRESHOLDS[caution]
        self._cohort: Vectors | None = None
        self._lock = threading.Lock()

    def judge(self, vector: Vectors, best_cosine: float, coverage: float) -> Answerability:
        """`vector` is the question's, shape (1, dimension).

        `best_cosine` that of the nearest evidence sentence; `coverage` 0 to 1.
        """
        closeness = self.closeness(vector, best_cosine)
        probability = 1 / (1 + math.exp(-(BIAS + CLOSENESS_WEIGHT * closeness + COVERAGE_WEIGHT * coverage)))
        reason = "" if probability >= self._threshold else _reason(coverage)
        return Answerability(round(probability, 4), round(closeness, 4), round(coverage, 4), reason)

    def closeness(self, vector: Vectors, best_cosine: float) -> float:
        with self._lock:
            if self._cohort is None:
                self._cohort = self._embedder.embed(COHORT, "passage")
        unrelated = float((self._cohort @ vector[0]).mean())
        return max(0.0, min(1.0, (best_cosine - unrelated) / (1 - unrelated + 1e-9)))


def _reason(coverage: float) -> str:
    if coverage < 0.5:
        return "the documents found speak of other things than the question"
    return "the documents found are about this subject, but none of their sentences is close enough to the question to answer it"
