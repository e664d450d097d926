"""What serves while no router is trained: one expert for every question, but for those whose wording plainly asks for another.

The patterns are narrow, and English as the experts are: a question that only resembles one of these stays with the default,
which is made for questions about documents. What any of them writes is checked against its sources afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import regex

from ckllm.contracts import Route
from ckllm.experts.base import BASE, RouteRequest

_POLITE = r"^(?:please,?\s+|(?:can|could|would)\s+you\s+(?:please\s+)?)?"
WORDINGS: dict[str, tuple[str, str]] = {
    "explain": (
        rf"{_POLITE}(?:explain|describe|summari[sz]e|outline|elaborate|tell\s+me\s+(?:more\s+)?about)\b|\bin\s+(?:more\s+)?detail\b",
        "it asks for an explanation",
    ),
}
"""Expert → pattern, case ignored, and what it says of a question that has it. The first that is found decides."""
LONGEST = 400
"""Characters of a question that are looked at."""


class WordingRouter:
    """`expert`, or that of `experts` whose pattern is in the question."""

    def __init__(self, expert: str, experts: Collection[str]) -> None:
        self.expert = expert
        self._known = {
            name: (regex.compile(pattern, regex.IGNORECASE), said)
            for name, (pattern, said) in WORDINGS.items()
            if name in experts
        }

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        return [self._one(request.question) for request in requests]

    def _one(self, question: str) -> Route:
        asked = " ".join(question[:LONGEST].split())
        scores = dict.fromkeys((self.expert, *self._known, BASE), 0.0)
        for name, (pattern, said) in self._known.items():
            if pattern.search(asked):
                return self._route(name, scores, f"no router is trained, and by its wording {said}")
        return self._route(self.expert, scores, "no router is trained, and this expert is made for questions about documents")

    @staticmethod
    def _route(name: str, scores: dict[str, float], reason: str) -> Route:
        return Route(name, 1.0, scores | {name: 1.0}, {name: 1.0}, "default", reason)
