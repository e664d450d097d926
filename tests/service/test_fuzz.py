"""Requests made up from the API's own description, well formed and not, and some with bytes gone wrong: none ends in a 500."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.service.conftest import ROPEWAY
from tests.service.serving import TOKEN, Served, envelope, served

FEW, MANY = 8, 400
"""Requests made up for each operation, well formed ones, and as many of the others; many make more than 10,000 in all."""
HEALTH, PHASES = list(HealthCheck), (Phase.generate,)


JSON = (
    ("POST", "/v1/search", {"query": "ropeway", "k": 3, "where": 'lang == "en"', "collection": "main"}),
    (
        "POST",
        "/v1/chat/completions",
        {"model": "ckllm", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 4},
    ),
    ("POST", "/v1/experts/route", {"question": "Who built it?"}),
    ("POST", "/v1/conversations", {"title": "ropeways"}),
    ("POST", "/v1/feedback", {"rating": 1, "answer": {"question": "?", "answer": "!"}}),
    ("GET", "/v1/documents?state=LIVE&collection=main", None),
    ("GET", "/v1/documents/00000000000000000000000000000000/pages/1?scale=2", None),
)
ODD = (
    b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\r\n", b"%00", b"../", b"[" * 2000, b"9" * 400, b"1e999", b"NaN", b"\\ud800", b'"',
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home")) as running:
        running.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield running


@pytest.mark.parametrize(
    ("examples", "least"), [(FEW, 150), pytest.param(MANY, 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_no_request_ends_in_an_unexpected_error(service: Served, examples: int, least: int) -> None:
    api = schemathesis.openapi.from_url(f"{service.url}/openapi.json", timeout=60)
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 25
    statuses: Counter[int] = Counter()
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=HEALTH, phases=PHASES
            )
            def probe(case: Any) -> None:
                response = case.call(timeout=60, headers={"Authorization": f"Bearer {TOKEN}"})
                statuses[response.status_code] += 1
                check(response)

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
                probe()
    assert statuses.total() > least, statuses
    assert {200, 404, 422} <= set(statuses), statuses


def check(response: Any) -> None:
    told = f"{response.request.url}: {response.status_code} {response.text[:300]}"
    assert response.status_code < 500 or response.request.url.endswith("/ready"), told
    if response.status_code >= 400 and not response.request.url.endswith("/ready"):
        assert set(response.json()["error"]) == {"type", "message", "param", "code"}, told


def test_the_service_is_well_afterwards(service: Served) -> None:
    with service.http(TOKEN) as http:
        assert http.post("/v1/search", json={"query": "ropeway"}).json()["hits"]
        assert envelope(http.get("/v1/nope"))["code"] == "unknown_path"


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_bytes_gone_wrong_end_in_no_unexpected_error(service: Served, count: int) -> None:
    chance = random.Random(7)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        sent = damaged(chance)
        status = answered(service.port, sent)
        statuses[status] += 1
        assert status < 500, (status, sent[:2000])
    assert {200, 400, 404, 422} <= set(statuses), statuses


def damaged(chance: random.Random) -> bytes:
    """A request with up to three places of its head or its body cut out, doubled, or overwritten."""
    method, path, value = chance.choice(JSON)
    body = b"" if value is None else json.dumps(value).encode()
    headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    head = f"{method} {path} HTTP/1.1\r\n{headers}".encode()
    if body and chance.random() < 0.8:
        body = hurt(body, chance)
    else:
        head = hurt(head, chance)
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def hurt(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(0, 3)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.randint(0, 12))
        part = chance.choice((b"", data[start:end] * 2, chance.choice(ODD), chance.randbytes(3)))
        data = data[:start] + part + data[end:]
    return data


def answered(port: int, sent: bytes) -> int:
    """The status; 0 where the connection is closed without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        told = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n" not in told and (more := connection.recv(4096)):
                told += more
    return int(told.split(b" ", 2)[1]) if told.startswith(b"HTTP/1.1 ") else 0
