"""Names that the caller gives go before every router."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckllm.contracts import Route
from ckllm.errors import UsageError
from ckllm.experts.base import BASE, Router, RouteRequest
from ckllm.experts.mixing import named

AUTO = "auto"


class ExplicitRouter:
    """Does what `RouteRequest.expert` says; `auto` is handed on to the router behind it."""

    def __init__(self, experts: Collection[str], automatic: Router) -> None:
        self._experts, self._automatic = experts, automatic

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        asked = [request for request in requests if request.expert == AUTO]
        automatic = iter(self._automatic.route(asked) if asked else [])
        return [next(automatic) if request.expert == AUTO else self._named(request.expert) for request in requests]

    def _named(self, expert: str) -> Route:
        weights = {name: round(weight, 6) for name, weight in named(expert).items()}
        for name in weights:
            if name != BASE and name not in self._experts:
                known = ", ".join(sorted({BASE, AUTO, *self._experts}))
                raise UsageError(f"there is no expert {name!r}: give one of {known}")
        if len(weights) > 1 and BASE in weights:
            raise UsageError(
                f"expert {expert!r}: base is the model under every expert and cannot be mixed with them, leave it out"
            )
        first = max(weights, key=lambda name: weights[name])
        return Route(first, 1.0, dict(weights), weights, "explicit", "asked for")
