"""The service under load: `python -m benchmarks.service --searchers 200 --askers 20 --seconds 60`, or `--minutes 30` to soak it.

Ingests the sample documents into a home of its own, starts `ckllm serve` there, and lets so many clients search and ask, each
waiting for its answer before it sends the next request. Prints one JSON object: requests by status, errors by kind, times in
seconds, and the resident memory of the service and of its model's process over time. 200, 429 and 503 are answers; anything
else is an error, and the exit code is then 1.

Every client has connections of its own, as clients on many machines have. One pool for all would measure itself: httpx offers a
connection that falls idle to every request that waits for one, in no order, and where there are hundreds of them some wait on,
for as long as the load lasts, for a service that has never heard of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.circumstances import circumstances

ROOT = Path(__file__).parents[1]
QUERIES = (
    "How often are the filters backwashed?",
    "When is a domestic meter replaced?",
    "How long does the generator's fuel last?",
    "What is done during a boil-water notice?",
    "Who reads the meters?",
)
ANSWERS = frozenset({200, 429, 503})
LONGEST_S = 300.0
SAMPLES = 60
"""Looks at the memory in a run."""


@dataclass
class Load:
    """What the clients have seen."""

    queries: tuple[str, ...] = QUERIES
    statuses: dict[str, Counter[int]] = field(default_factory=lambda: {"search": Counter(), "ask": Counter()})
    errors: Counter[str] = field(default_factory=Counter)
    """By kind: an exception of the client's, or an unexpected status with its code."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"search": [], "ask": []})
    memory_mb: list[dict[str, int]] = field(default_factory=list)

    async def client(self, address: str, kind: str, number: int, until: float) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=LONGEST_S, trust_env=False, verify=False) as http:
            asked = number
            while time.monotonic() < until:
                query = self.queries[asked % len(self.queries)]
                asked += 1
                try:
                    await self._request(http, kind, query)
                except httpx.HTTPError as error:
                    self.errors[type(error).__name__] += 1
                    await asyncio.sleep(1)

    async def _request(self, http: httpx.AsyncClient, kind: str, query: str) -> None:
        began = time.monotonic()
        if kind == "search":
            response = await http.post("/v1/search", json={"query": query})
        else:
            response = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": query}]})
        self.statuses[kind][response.status_code] += 1
        if response.status_code == 200:
            self.seconds[kind].append(time.monotonic() - began)
            return
        if response.status_code not in ANSWERS:
            self.errors[f"{response.status_code} {response.text[:120]}"] += 1
        await asyncio.sleep(float(response.headers.get("retry-after", "1")))

    async def watch(self, pid: int, every_s: float) -> None:
        """Resident megabytes, until cancelled."""
        began = time.monotonic()
        while True:
            self.memory_mb.append({"second": round(time.monotonic() - began), **memory_mb(pid)})
            await asyncio.sleep(every_s)

    def report(self, seconds: float) -> dict[str, Any]:
        kinds = {
            kind: {
                "statuses": dict(self.statuses[kind]),
                "per_second": round(len(times) / seconds, 2),
                "p50_s": _share(times, 0.5),
                "p95_s": _share(times, 0.95),
                "longest_s": _share(times, 1.0),
            }
            for kind, times in self.seconds.items()
        }
        return {**kinds, "errors": dict(self.errors), "memory_mb": self.memory_mb}


def memory_mb(pid: int) -> dict[str, int]:
    """Resident memory of the service, and of what it has started (the model's process)."""
    sizes = {"service": 0, "others": 0}
    with contextlib.suppress(psutil.NoSuchProcess):
        service = psutil.Process(pid)
        sizes["service"] = service.memory_info().rss >> 20
        for child in service.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes["others"] += child.memory_info().rss >> 20
    return sizes


def _share(times: list[float], share: float) -> float | None:
    return round(sorted(times)[int(share * (len(times) - 1))], 3) if times else None


async def put_under_load(address: str, searchers: int, askers: int, seconds: float, pid: int | None = None) -> Load:
    """All clients at once, for so long; the last answers are waited for. `pid`: the service's, to look at its memory."""
    load, until = Load(), time.monotonic() + seconds
    watching = asyncio.ensure_future(load.watch(pid, max(1.0, seconds / SAMPLES))) if pid else None
    clients = [load.client(address, "search", number, until) for number in range(searchers)]
    clients += [load.client(address, "ask", number, until) for number in range(askers)]
    try:
        await asyncio.gather(*clients)
    finally:
        if watching is not None:
            watching.cancel()
    return load


def _start(home: Path, *, filled: bool) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "ckllm", "--home", str(home)]
    if not filled:
        subprocess.run([*command, "ingest", str(ROOT / "examples/documents"), "--json"], check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "CKLLM_SERVICE__QUEUE_PER_USER": "64"}
    process = subprocess.Popen([*command, "serve", "--port", "0"], env=environment, stderr=subprocess.DEVNULL)
    return process, _address(home, lambda: process.poll() is None)


def _address(home: Path, lives: Callable[[], bool]) -> str:
    while True:
        time.sleep(0.5)
        if not lives():
            raise SystemExit("the service did not start")
        try:
            address = str(json.loads((home / "service.json").read_text())["address"])
            if httpx.get(f"{address}/ready", trust_env=False).status_code == 200:
                return address
        except (OSError, ValueError, httpx.HTTPError):
            continue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searchers", type=int, default=50)
    parser.add_argument("--askers", type=int, default=5)
    duration = parser.add_mutually_exclusive_group()
    duration.add_argument("--seconds", type=float, default=30)
    duration.add_argument("--minutes", type=float, help="instead of --seconds")
    parser.add_argument("--home", type=Path, help="a home with documents, instead of one that is made")
    given = parser.parse_args()
    seconds = given.minutes * 60 if given.minutes else given.seconds
    with tempfile.TemporaryDirectory() as folder:
        process, address = _start(given.home or Path(folder), filled=given.home is not None)
        try:
            asyncio.run(put_under_load(address, 1, 1, 3))  # what is only opened with the first question
            began = time.monotonic()
            load = asyncio.run(put_under_load(address, given.searchers, given.askers, seconds, process.pid))
            report = load.report(time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(20)
    shape = {"searchers": given.searchers, "askers": given.askers, "seconds": seconds}
    print(json.dumps({**shape, **report, "exit": process.returncode, **circumstances()}))
    return 1 if load.errors or process.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
