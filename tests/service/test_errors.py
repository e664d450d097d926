"""Whatever is wrong with a request, the answer has one form, and the service goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

from ckllm.llm.scripted import Fault
from tests.service.conftest import ROPEWAY
from tests.service.serving import Served, chat, envelope, first_passage, served, wait_for

CHAT = "/v1/chat/completions"
QUESTION = "Who built the ropeway at Gansett?"


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (422, "POST", CHAT, {"model": "ckllm", "messages": "hello"}),
        (422, "POST", CHAT, {"model": "ckllm", "messages": []}),
        (422, "POST", CHAT, {"model": "ckllm", "messages": [{"role": "assistant", "content": "me first"}]}),
        (422, "POST", CHAT, {"model": "ckllm", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        (422, "POST", CHAT, chat("x", temperature=-4)),
        (422, "POST", CHAT, chat("x", max_tokens=0)),
        (422, "POST", CHAT, chat("x", n=2)),
        (422, "POST", CHAT, chat("x", stop=["s"] * 17)),
        (422, "POST", CHAT, chat("x", where={"a": {"b": {}}, "c": json.loads("[" * 40 + "]" * 40)})),
        (400, "POST", CHAT, chat("?!")),
        (400, "POST", CHAT, chat("word " * 10_000)),
        (400, "POST", CHAT, chat("x y z", where="groups == 'red'")),
        (400, "POST", CHAT, chat("x y z", where="lang == ")),
        (404, "POST", CHAT, {**chat("x"), "model": "no-such-expert"}),
        (404, "POST", CHAT, {**chat("x"), "model": "auto"}),
        (404, "POST", CHAT, chat("x", experts=["no-such-expert"])),
        (404, "POST", CHAT, chat("x", collection="no-such-collection")),
        (404, "POST", CHAT, chat("x", conversation="nope")),
        (422, "POST", "/v1/search", {"query": ""}),
        (422, "POST", "/v1/search", {"query": "x", "k": 0}),
        (422, "POST", "/v1/search", {"query": "x", "unknown": 1}),
        (404, "POST", "/v1/search", {"query": "x", "collection": "nope"}),
        (422, "POST", "/v1/experts/route", {}),
        (422, "POST", "/v1/documents", {"urls": []}),
        (422, "POST", "/v1/documents", {"urls": ["ftp://example.org/x"]}),
        (404, "GET", "/v1/no-such-thing", None),
        (405, "PUT", CHAT, {}),
        (400, "GET", "/v1/documents?state=odd", None),
        (404, "GET", "/v1/documents/no-such-document", None),
        (404, "GET", f"/v1/documents/{'0' * 32}/text", None),
        (404, "GET", f"/v1/documents/{'0' * 32}/pages/1", None),
        (422, "GET", f"/v1/documents/{'0' * 32}/pages/zero", None),
        (404, "DELETE", f"/v1/documents/{'0' * 32}", None),
        (404, "GET", "/v1/jobs/nope", None),
        (404, "GET", "/v1/jobs/nope/events", None),
        (404, "GET", "/v1/conversations/nope", None),
        (404, "DELETE", "/v1/keys/nope", None),
        (404, "GET", "/v1/models/nope", None),
        (422, "POST", "/v1/feedback", {"rating": 1, "answer": {"no": "answer"}}),
    ],
)
def test_every_error_has_the_envelope(open_service: Served, status: int, method: str, path: str, body: Any) -> None:
    with open_service.http() as http_client:
        response = http_client.request(method, path, json=body) if body is not None else http_client.request(method, path)
    assert response.status_code == status, response.text
    envelope(response)


@pytest.mark.parametrize(
    ("status", "kind", "raw"),
    [
        (422, "application/json", b'{"model": "ckllm", '),
        (422, "application/json", b"[" * 100_000),
        (422, "application/json", b'{"messages": "\xff"}'),
        (422, "application/json", b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
        (415, "text/plain", b"hello"),
        (415, "application/x-www-form-urlencoded", b"a=b"),
    ],
)
def test_bodies_that_are_no_json(open_service: Served, status: int, kind: str, raw: bytes) -> None:
    with open_service.http() as http_client:
        response = http_client.post(CHAT, content=raw, headers={"Content-Type": kind})
    assert response.status_code in (status, 400)
    envelope(response)


def test_the_field_that_is_wrong_is_named(open_service: Served) -> None:
    with open_service.http() as http_client:
        assert envelope(http_client.post(CHAT, json=chat("x", temperature=9)))["param"] == "temperature"
        assert envelope(http_client.post("/v1/search", json={"query": ""}))["param"] == "query"


def test_what_is_no_text_and_what_is_no_address_is_named(open_service: Served) -> None:
    picture = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    with open_service.http() as http_client:
        refused = envelope(http_client.post(CHAT, json={"messages": [{"role": "user", "content": picture}]}))
        assert (refused["param"], refused["message"]) == (
            "messages.0.content", "messages.0.content: has a part of type 'image_url': only text is read"
        )  # fmt: skip
        refused = envelope(http_client.post("/v1/documents", json={"urls": ["https://example.org/a", "example.org/b"]}))
        assert (refused["param"], refused["message"]) == (
            "urls.1", "urls.1: 'example.org/b' is no address of a page: begin it with https://"
        )  # fmt: skip


@pytest.mark.parametrize(("path", "length"), [("/v1/documents", 1 << 30), (CHAT, 1 << 28), (CHAT, 10**30)])
def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(open_service: Served, path: str, length: int) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_service.port), timeout=60) as connection:
        connection.sendall(head.encode() + b"-" * 65536)
        first = connection.recv(4096)
    assert first.split()[1] in (b"413", b"400")
    assert b"413" in first or length == 10**30


def test_a_body_without_a_length_is_refused_when_it_grows_too_large(open_service: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", open_service.port, timeout=60)
    pieces: Iterator[bytes] = iter([b" " * 100_000] * 30)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while we still send: the answer is there
        connection.request("POST", CHAT, pieces, {"Content-Type": "application/json"}, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    refused = json.loads(response.read())["error"]
    assert (refused["code"], "raise service.request_limit_mb" in refused["message"]) == ("too_large", True)
    connection.close()


@pytest.mark.parametrize(
    "raw", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http_gets_the_envelope_too(open_service: Served, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", open_service.port), timeout=60) as connection:
        connection.sendall(raw)
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "a@127.0.0.1"])
def test_a_page_that_has_its_name_point_here_is_refused(open_service: Served, host: str) -> None:
    with open_service.http() as http_client:
        response = http_client.get("/v1/documents", headers={"Host": host})
    assert response.status_code in (400, 403)


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403), ("http://localhost:8501", 200)])
def test_pages_of_other_origins_may_not_call(open_service: Served, origin: str, status: int) -> None:
    with open_service.http() as http_client:
        response = http_client.post("/v1/search", json={"query": "ropeway"}, headers={"Origin": origin})
    assert response.status_code == status
    assert "access-control-allow-origin" not in response.headers


def test_headers_that_protect_browsers_and_name_the_request(open_service: Served) -> None:
    with open_service.http() as http_client:
        first, second = http_client.get("/health"), http_client.get("/v1/nope")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for response in (first, second):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers


def test_an_unexpected_error_is_told_without_its_inside(open_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(open_service.core, "models", fails)
    with open_service.http() as http_client:
        response = http_client.get("/v1/models")
        assert response.status_code == 500
        assert "secret" not in response.text
        envelope(response)
        assert http_client.get("/health").status_code == 200


# -- generation that goes wrong, is slow, or is not waited for


@pytest.fixture(scope="module")
def slow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    fault = Fault(delay_s=0.1)
    limits = {"service__generations": 1, "service__queue": 3, "service__queue_per_user": 2, "service__body_timeout_s": 2}
    with served(tmp_path_factory.mktemp("home"), fault=fault, **limits) as service:
        service.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield service


LONG = {"max_tokens": 2000}
"""What goes with a question that is to be answered at length."""


@pytest.fixture
def talkative(slow_service: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Its model talks for minutes where nobody stops it."""
    monkeypatch.setattr(slow_service.llm, "_answer", lambda _: "word " * 2000)
    return slow_service


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_the_model(talkative: Served, stream: bool) -> None:
    body = json.dumps(chat(QUESTION, stream=stream, draft=True, **LONG)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    asked = len(talkative.llm.requests)
    with socket.create_connection(("127.0.0.1", talkative.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        wait_for(lambda: talkative.llm.active == 1)
    wait_for(lambda: talkative.llm.active == 0)
    assert len(talkative.llm.requests) == asked + 1
    wait_for(lambda: talkative.core.turns.taken == 0)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json"])
def test_a_client_that_goes_away_while_it_sends_is_no_error_of_ours(open_service: Served, kind: str) -> None:
    head = f"POST /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nThe first half'
    before = uploads_counted(open_service)
    with socket.create_connection(("127.0.0.1", open_service.port), timeout=60) as connection:
        connection.sendall((head + part).encode())
    wait_for(lambda: uploads_counted(open_service) != before)
    assert {status for status, count in uploads_counted(open_service).items() if count > before.get(status, 0)} == {"499"}


def uploads_counted(service: Served) -> dict[str, float]:
    """Uploads by the status that they ended with."""
    series = r'ckllm_requests_total{method="POST",route="/v1/documents",status="(\d+)"} (\S+)'
    counted = re.findall(series, service.core.metrics.text().decode())
    return {status: float(count) for status, count in counted}


def test_search_is_answered_while_the_model_is_busy(talkative: Served) -> None:
    with talkative.client() as client:
        events = client.stream(QUESTION, **LONG)
        next(events)
        wait_for(lambda: talkative.llm.active == 1)
        assert client.search("ropeway").hits
        assert talkative.llm.active == 1
        events.close()  # type: ignore[attr-defined]


def test_too_many_questions_are_told_to_come_back(slow_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for(lambda: slow_service.core.turns.taken == 0)
    go_on = threading.Event()
    monkeypatch.setattr(slow_service.llm, "_answer", lambda messages: first_passage(messages) if go_on.wait(60) else "Late.")
    with slow_service.http() as http_client, ThreadPoolExecutor(6) as pool:
        sent = as_completed([pool.submit(http_client.post, CHAT, json=chat(QUESTION)) for _ in range(6)])
        refused = [next(sent).result() for _ in range(3)]  # the model is held until all three are
        go_on.set()
        assert [one.result().status_code for one in sent] == [200] * 3
    for response in refused:
        assert (response.status_code, envelope(response)["code"]) == (429, "too_many_questions")
        assert int(response.headers["retry-after"]) >= 1
    counted = slow_service.core.metrics.text().decode()
    assert 'ckllm_answers_total{outcome="sent_away"} 3.0' in counted
    assert 'outcome="failed"' not in counted, "busy is not broken"


def test_a_body_that_does_not_come_is_not_waited_for(slow_service: Served) -> None:
    with socket.create_connection(("127.0.0.1", slow_service.port), timeout=60) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"{")
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 408 " in told.splitlines()[0]
    assert b"slow_body" in told


def test_a_head_that_does_not_come_is_not_waited_for(slow_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.service.protocol.HEADERS_S", 1.0)
    with socket.create_connection(("127.0.0.1", slow_service.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127")
        assert connection.recv(4096) == b""
    with socket.create_connection(("127.0.0.1", slow_service.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in connection.recv(4096)
        connection.sendall(b"GET /health HTTP/1.1\r\nHo")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).count(b"HTTP/1.1") == 0


def test_a_slow_answer_on_a_kept_connection_is_not_cut_off(slow_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.service.protocol.HEADERS_S", 0.8)
    monkeypatch.setattr(slow_service.llm, "_answer", lambda _: "word " * 15)
    with slow_service.http() as http_client:
        for _ in range(2):
            assert http_client.post(CHAT, json=chat(QUESTION)).status_code == 200


def test_a_model_that_fails_is_told_in_the_stream_and_outside(tmp_path: Path) -> None:
    with served(tmp_path / "home", fault=Fault(fail_after=2)) as service:
        service.add(tmp_path, "ropeway.txt", ROPEWAY)
        with service.http() as http_client:
            whole = http_client.post(CHAT, json=chat(QUESTION))
            stream = http_client.post(CHAT, json=chat(QUESTION, stream=True)).text
        assert whole.status_code == 503
        assert "retry-after" in whole.headers
        assert envelope(whole)["code"] == "unavailable"
        assert '"error"' in stream
        assert "[DONE]" not in stream
        assert "Ferrand" not in stream, "unverified words were sent"
        assert 'outcome="failed"' in service.core.metrics.text().decode()
