"""OpenTelemetry traces, where `service.traces` names who collects them: a span for each request, its stages as children.

A span holds the route's pattern, the status and the request's id; no question, no document, no user, no address. A caller's own
trace (`traceparent`) is continued. Nothing of OpenTelemetry is imported while traces are off.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from starlette.datastructures import Headers

from ckllm import __version__
from ckllm.stopwatch import Listener, listening

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Traced:
    """An application whose requests are traced. The provider is shut down, and so flushed, with the application."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app, self._provider = app, provider
        self._tracer = provider.get_tracer("ckllm.service", __version__)
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            if scope["type"] == "lifespan":
                self._provider.shutdown()
            return
        span = self._tracer.start_span(scope["method"], _callers_trace(scope), SpanKind.SERVER)
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with listening(self._stages(set_span_in_context(span))):
                await self._app(scope, receive, sent)
        finally:
            _describe(span, scope, status)
            span.end()

    def _stages(self, parent: Context) -> Listener:
        def ended(stage: str, began: float, end: float) -> None:
            span = self._tracer.start_span(stage, parent, start_time=self._epoch_ns + int(began * 1e9))
            span.end(self._epoch_ns + int(end * 1e9))

        return ended


def open_provider(endpoint: str) -> TracerProvider:
    """A provider that sends spans in the background, by OTLP over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "ckllm", "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider


def _callers_trace(scope: Scope) -> Context:
    headers = Headers(scope=scope)
    return extract({name: headers[name] for name in ("traceparent", "tracestate") if name in headers})


def _describe(span: Span, scope: Scope, status: int) -> None:
    pattern = getattr(scope.get("route"), "path", None) or "none"
    span.update_name(f"{scope['method']} {pattern}")
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.route": pattern,
            "http.response.status_code": status,
            "ckllm.request_id": scope.get("ckllm.request_id", ""),
        }
    )
    problem = scope.get("ckllm.problem")
    if problem is not None:
        span.set_attribute("error.type", problem.code)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
