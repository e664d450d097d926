"""Routing by patterns that a person wrote: exact, instant, and blind to everything else."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.contracts import Route
from ckllm.errors import UsageError
from ckllm.experts.base import BASE, RouteRequest

TIMEOUT_S = 0.05
"""For one pattern on one question: a pattern that backtracks without end must not hold the service."""


class RuleRouter:
    """The first rule whose pattern is found in the question decides; none: base."""

    def __init__(self, rules: Sequence[tuple[str, str]]) -> None:
        """`rules`: (regular expression, expert), in order. Raises UsageError for one that is not an expression."""
        self._rules: list[tuple[regex.Pattern[str], str]] = []
        for pattern, expert in rules:
            try:
                self._rules.append((regex.compile(pattern, regex.IGNORECASE), expert))
            except regex.error as error:
                raise UsageError(f"routing rule {pattern!r} is not a regular expression: {error}") from None

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(expert for _, expert in self._rules))

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        return [self._one(request.question) for request in requests]

    def _one(self, question: str) -> Route:
        scores = dict.fromkeys((*self.labels, BASE), 0.0)
        for pattern, expert in self._rules:
            try:
                found = pattern.search(question, timeout=TIMEOUT_S)
            except TimeoutError:
                raise UsageError(f"routing rule {pattern.pattern!r} takes too long on this question: simplify it") from None
            if found:
                reason = f"the rule {pattern.pattern!r} is found in the question"
                return Route(expert, 1.0, scores | {expert: 1.0}, {expert: 1.0}, "rule", reason)
        return Route(BASE, 1.0, scores | {BASE: 1.0}, {BASE: 1.0}, "rule", "no rule is found in the question")
