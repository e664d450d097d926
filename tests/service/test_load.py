"""The service under load, and the load itself: every client of the benchmark is one of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.service import ANSWERS, QUERIES, put_under_load
from ckllm.service.run import KEEP_ALIVE_S
from tests.service.test_process import ckllm, serving, write

GROWTH_MB = 150
"""Caches fill up in the first seconds of a load; a leak of an answer's size would make far more of thousands of requests."""


async def heard(clients: int, seconds: float) -> list[list[str]]:
    """What a server that answers anything hears from the clients of a load, by connection."""
    connections: list[list[str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queries: list[str] = []
        connections.append(queries)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                queries.append(json.loads(await reader.readexactly(length))["query"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await put_under_load(f"http://127.0.0.1:{port}", clients, 0, seconds)
    return connections


def test_no_client_of_the_load_waits_for_a_connection_of_another() -> None:
    """With one pool for all, some would wait for as long as the load lasts, and the service would be blamed."""
    connections = asyncio.run(heard(20, 1.0))
    assert len(connections) == 20
    for queries in connections:
        start = QUERIES.index(queries[0])
        assert queries == [QUERIES[(start + number) % len(QUERIES)] for number in range(len(queries))]


def test_connections_are_kept_longer_than_clients_keep_them() -> None:
    """Where both would close after the same time, now and then a request is lost on its way."""
    expiry = httpx.Limits().keepalive_expiry
    assert expiry
    assert 2 * expiry < KEEP_ALIVE_S


@pytest.mark.parametrize("seconds", [15, pytest.param(120, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_hundreds_of_searchers_and_askers_are_all_answered(tmp_path: Path, seconds: float) -> None:
    home = tmp_path / "home"
    ckllm(home, "ingest", str(write(tmp_path, "a.txt", "The filters are backwashed every Monday. Meters are read by Odile.\n")))
    with serving(home) as (process, client):
        load = asyncio.run(put_under_load(client.base_url, 200, 20, seconds, process.pid))
        seen: dict[str, Any] = load.report(seconds)
        assert not load.errors, seen
        for kind in ("search", "ask"):
            assert load.statuses[kind][200] >= 20, seen
            assert set(load.statuses[kind]) <= ANSWERS, seen
        sizes = [sample["service"] for sample in load.memory_mb]
        assert sizes[-1] - sizes[len(sizes) // 3] < GROWTH_MB, seen
        assert client.search("Who reads the meters?").hits
