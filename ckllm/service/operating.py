"""Whether the service lives and is ready, and what it measures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response
from starlette.types import Scope

from ckllm import __version__
from ckllm.service.caller import Caller, administrator
from ckllm.service.errors import Json
from ckllm.service.logs import log

if TYPE_CHECKING:
    from ckllm.service.core import Core


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["operation"])

    @routes.get("/health", response_model=None)
    async def health() -> Response:
        """The process answers."""
        return Json({"status": "ok", "version": __version__})

    @routes.get("/ready", response_model=None)
    async def ready() -> Response:
        """The models are loaded and the store is open; 503 until then."""
        state = "ready" if core.warm else "failed" if core.trouble else "starting"
        return Json({"status": state}, 200 if core.warm else 503)

    @routes.get("/metrics", response_model=None)
    async def metrics(_caller: Annotated[Caller, Depends(administrator)]) -> Response:
        """For Prometheus."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return routes


def observer() -> Callable[[Scope, int, float], None]:
    """One log line a request: the route's pattern instead of its path, so that ids and queries stay out of it."""

    def observe(scope: Scope, status: int, seconds: float) -> None:
        route, caller, problem = scope.get("route"), scope.get("ckllm.caller"), scope.get("ckllm.problem")
        fields = {
            "request": scope["ckllm.request_id"],
            "method": scope["method"],
            "route": getattr(route, "path", None),
            "status": status,
            "seconds": round(seconds, 4),
            "user": caller.user if caller else None,
            "code": problem.code if problem else None,
        }
        error = scope.get("ckllm.error") if status >= 500 else None
        log.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra={"fields": fields}, exc_info=error)

    return observe
