"""The seam between a question and the expert that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ckllm.contracts import Message, Route

BASE = "base"
"""The model as it is, without any adapter."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a router may see.

    The question and the conversation, never retrieved text, so that no document can choose the expert.
    """

    question: str
    history: tuple[Message, ...] = ()
    expert: str = "auto"
    """auto, base, or names of experts, comma-separated."""
    top_experts: int = 1


class Router(Protocol):
    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        """One route a request, in order. Raises UsageError for an expert that does not exist."""
