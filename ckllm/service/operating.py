"""Whether the service lives and is ready, and what it measures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import Scope

from ckllm import __version__
from ckllm.service.audit import READING, REFUSED
from ckllm.service.caller import Caller, administrator, caller_of
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
        return Response(await core.work(core.metrics.text), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/v1/me", response_model=None)
    async def me(request: Request) -> Response:
        """Who the service takes the caller for; `user` is empty for the owner of a service without keys."""
        caller = caller_of(request)
        return Json({"user": caller.user, "groups": list(caller.access.groups), "rights": list(caller.rights)})

    return routes


def observer(core: Core) -> Callable[[Scope, int, float], None]:
    """One log line a request: the route's pattern instead of its path, so that ids and queries stay out of it.

    Writes and refusals also go to the audit log, with their path.
    """

    def observe(scope: Scope, status: int, seconds: float) -> None:
        route, caller, problem = scope.get("route"), scope.get("ckllm.caller"), scope.get("ckllm.problem")
        pattern = getattr(route, "path", None) or "none"
        core.metrics.request(scope["method"] if route and status != 405 else "any", pattern, status, seconds)
        fields = {
            "request": scope["ckllm.request_id"],
            "method": scope["method"],
            "route": pattern,
            "status": status,
            "seconds": round(seconds, 4),
            "user": caller.user if caller else None,
            "code": problem.code if problem else None,
        }
        writes = scope["method"] not in ("GET", "HEAD", "OPTIONS") and scope["path"] not in READING
        if (writes and caller) or status in REFUSED:
            core.audit.note(
                {
                    "user": caller.user if caller else "",
                    "key_id": caller.key_id if caller else "",
                    "address": (scope.get("client") or ("",))[0],
                    "method": scope["method"][:10],
                    "path": scope["path"],
                    "status": status,
                    "code": problem.code if problem else "",
                    "request_id": scope["ckllm.request_id"],
                },
                stranger=caller is None,
            )
        error = scope.get("ckllm.error") if status >= 500 else None
        log.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra={"fields": fields}, exc_info=error)

    return observe
