"""The FastAPI application: every route, and the translation of every error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from ckllm import __version__
from ckllm.errors import CkllmError, UsageError
from ckllm.service import (
    administering,
    chat,
    documents,
    evaluations,
    ingesting,
    operating,
    reference,
    searching,
    talking,
    training,
)
from ckllm.service.doors import Doors
from ckllm.service.edge import Body, Edge
from ckllm.service.errors import HttpError, answer, fault_in_words, known, problem_of

if TYPE_CHECKING:
    from ckllm.service.core import Core

_KINDS = ("application/json", "multipart/form-data")
_CODES = {404: "unknown_path", 405: "wrong_method", 400: "invalid_request", 413: "too_large"}


def create_app(core: Core, doors: Doors, host: str = "127.0.0.1") -> ASGIApp:
    """The application with its edge. `host`: what it is bound to."""
    app = FastAPI(title="ckllm", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    for module in (chat, searching, documents, ingesting, talking, administering, evaluations, operating, training):
        app.include_router(module.router(core))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(CkllmError, _ours)
    app.add_exception_handler(Exception, _ours)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(reference.page(app.openapi()))

    edge: ASGIApp = Edge(app, core, doors, host, operating.observer(core))
    origins = core.settings.service.cors_origins
    if origins:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        edge = CORSMiddleware(edge, allow_origins=list(origins), allow_methods=methods, allow_headers=["*"])
    collector = core.settings.service.traces
    return _traced(edge, collector) if collector else edge


def _traced(app: ASGIApp, collector: str) -> ASGIApp:
    """UsageError where OpenTelemetry is not installed."""
    try:
        from ckllm.service.tracing import Traced, open_provider

        return Traced(app, open_provider(collector))
    except ImportError as error:
        raise UsageError(
            f"service.traces needs a package that is not installed ({error.name}): pip install 'ckllm[otel]'"
        ) from None


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    late = _of_body(request)
    if late is not None:
        return answer(late)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"][1:] if first["type"] != "json_invalid"]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (
        request.method in ("POST", "PATCH")
        and first["loc"] == ("body",)
        and kind not in ("application/json", "multipart/form-data")
    ):
        return answer(HttpError(415, "media_type", f"send the body as application/json, not as {kind[:60] or 'nothing'}"))
    if first["type"] == "json_invalid":
        return answer(HttpError(422, "invalid_json", "the body is not valid JSON"))
    where = ".".join(place) or "the body"
    return answer(HttpError(422, "invalid_body", f"{where}: {fault_in_words(first)}", ".".join(place) or None))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    late = _of_body(request)
    if late is not None:
        return answer(late)
    told = {404: "there is nothing at this path: /docs lists what there is", 405: "this path does not take this method"}
    message = told.get(error.status_code, str(error.detail))
    code = _CODES.get(error.status_code, "invalid_request")
    return answer(HttpError(error.status_code, code, message, headers=dict(error.headers or {})))


async def _ours(request: Request, error: Exception) -> Response:
    error = known(error)
    caller = request.scope.get("ckllm.caller")
    problem = problem_of(error, trusted=caller is not None and caller.trusted)
    request.scope["ckllm.problem"], request.scope["ckllm.error"] = problem, error
    return answer(problem)


def _of_body(request: Request) -> HttpError | None:
    """What was wrong with the body itself, where a parser has taken that for something else."""
    receive: Any = request.receive
    return receive.problem if isinstance(receive, Body) else None
