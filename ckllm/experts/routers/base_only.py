"""The router that needs no experts: the base model answers everything."""

from __future__ import annotations

from collections.abc import Sequence

from ckllm.contracts import Route
from ckllm.errors import UsageError
from ckllm.experts.base import BASE, RouteRequest


class BaseOnlyRouter:
    """Answers `auto` and `base` with the base model and refuses every other name."""

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        return [self._one(request) for request in requests]

    def _one(self, request: RouteRequest) -> Route:
        if request.expert not in ("auto", BASE):
            raise UsageError(
                f"there is no expert {request.expert!r}: this knowledge base has the base model only, give auto or base"
            )
        reason = "asked for" if request.expert == BASE else "no experts are installed"
        return Route(BASE, 1.0, {BASE: 1.0}, {BASE: 1.0}, "base-only", reason)
