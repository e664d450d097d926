"""Traces: what is told of a request, and what is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ckllm.config import load_settings
from ckllm.errors import UsageError
from ckllm.service.app import create_app
from ckllm.service.core import Core
from ckllm.service.doors import Doors
from ckllm.service.tracing import Traced
from tests.service.serving import Served, chat

QUESTION = "Who built the ropeway at Gansett?"
ASKED = {"queue", "rewrite", "route", "retrieve", "rerank", "generate", "verify"}
OFF = """
import sys
from pathlib import Path
from ckllm.config import load_settings
from ckllm.service.app import create_app
from ckllm.service.core import Core
from ckllm.service.doors import Doors
settings = load_settings(Path(sys.argv[1]), environment={})
core = Core(settings)
create_app(core, Doors(settings.service, core.keys, "token"))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "ckllm.service.tracing"))])
"""


class Collected:
    """A service in this process, with the spans that its requests left."""

    def __init__(self, service: Served) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._app = Traced(create_app(service.core, service.doors), provider)

    def send(self, method: str, path: str, **more: object) -> list[ReadableSpan]:
        """The spans of one request, the request's own last."""
        self._exporter.clear()

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as http:
                return await http.request(method, path, **more)  # type: ignore[arg-type]

        asyncio.run(sent())
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.kind.name == "SERVER")


@pytest.fixture(scope="module")
def collected(open_service: Served) -> Iterator[Collected]:
    yield Collected(open_service)


def test_a_questions_stages_are_children_of_its_request(collected: Collected) -> None:
    *stages, whole = collected.send("POST", "/v1/chat/completions", json=chat(QUESTION))
    assert whole.name == "POST /v1/chat/completions"
    assert whole.attributes is not None
    assert whole.attributes["http.response.status_code"] == 200
    assert whole.attributes["ckllm.request_id"]
    assert {stage.name for stage in stages} == ASKED
    for stage in stages:
        assert stage.parent is not None
        assert whole.context is not None
        assert stage.parent.span_id == whole.context.span_id
        assert stage.start_time and stage.end_time and whole.start_time
        assert whole.start_time - 1_000_000 <= stage.start_time <= stage.end_time


def test_a_search_has_its_stages_too(collected: Collected) -> None:
    *stages, whole = collected.send("POST", "/v1/search", json={"query": "ropeway"})
    assert whole.name == "POST /v1/search"
    assert {stage.name for stage in stages} == {"retrieve", "rerank"}


def test_nothing_of_questions_and_documents_is_told(collected: Collected) -> None:
    for path, body in (("/v1/chat/completions", chat(QUESTION)), ("/v1/search", {"query": "ropeway Gansett"})):
        told = " ".join(span.to_json() for span in collected.send("POST", path, json=body)).lower()
        for word in ("gansett", "ferrand", "ropeway", "127.0.0.1"):
            assert word not in told
    (found,) = collected.send("GET", "/v1/documents/gansett?state=gansett")
    assert found.name == "GET /v1/documents/{document_id}"
    assert "gansett" not in found.to_json()


def test_an_error_is_told_by_its_code(collected: Collected) -> None:
    *_, whole = collected.send("POST", "/v1/chat/completions", json=chat(QUESTION, model="nobody"))
    assert whole.attributes is not None
    assert whole.attributes["http.response.status_code"] == 404


def test_a_callers_trace_is_continued(collected: Collected) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    *_, whole = collected.send("GET", "/health", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == trace


def test_nothing_is_imported_while_traces_are_off(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OFF, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_the_package_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ckllm.service.tracing", None)
    settings = load_settings(tmp_path, overrides={"service.traces": "http://127.0.0.1:4318/v1/traces"}, environment={})
    core = Core(settings)
    with pytest.raises(UsageError, match=r"pip install 'ckllm\[otel\]'"):
        create_app(core, Doors(settings.service, core.keys, "token"))
    core.close()


def test_with_the_package_requests_are_traced(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, overrides={"service.traces": "http://127.0.0.1:9/v1/traces"}, environment={})
    core = Core(settings)
    app = create_app(core, Doors(settings.service, core.keys, "token"))
    assert isinstance(app, Traced)
    app._provider.shutdown()
    core.close()
