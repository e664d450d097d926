"""The service under load: `python -m benchmarks.service --searchers 200 --askers 20 --seconds 60`.

Ingests the sample documents into a home of its own, starts `ckllm serve` there, and lets so many clients search and ask, each
waiting for its answer before it sends the next request. Prints one JSON object: requests by status, times in seconds,
and the resident memory of the service at the beginning and at the end. Anything but 200, 429 and 503 is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
QUERIES = (
    "How often are the filters backwashed?",
    "When is a domestic meter replaced?",
    "How long does the generator's fuel last?",
    "What is done during a boil-water notice?",
    "Who reads the meters?",
)


class Load:
    """What the clients have seen."""

    def __init__(self) -> None:
        self.statuses: dict[str, Counter[int]] = {"search": Counter(), "ask": Counter()}
        self.seconds: dict[str, list[float]] = {"search": [], "ask": []}

    async def client(self, http: httpx.AsyncClient, kind: str, number: int, until: float) -> None:
        asked = number
        while time.monotonic() < until:
            query = QUERIES[asked % len(QUERIES)]
            asked += 1
            began = time.monotonic()
            if kind == "search":
                response = await http.post("/v1/search", json={"query": query})
            else:
                response = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": query}]})
            self.statuses[kind][response.status_code] += 1
            if response.status_code == 200:
                self.seconds[kind].append(time.monotonic() - began)
            else:
                await asyncio.sleep(float(response.headers.get("retry-after", "1")))

    def report(self, seconds: float) -> dict[str, Any]:
        return {
            kind: {
                "statuses": dict(self.statuses[kind]),
                "per_second": round(len(times) / seconds, 2),
                "p50_s": _share(times, 0.5),
                "p95_s": _share(times, 0.95),
            }
            for kind, times in self.seconds.items()
        }


def _share(times: list[float], share: float) -> float | None:
    return round(sorted(times)[int(share * (len(times) - 1))], 3) if times else None


async def _run(address: str, searchers: int, askers: int, seconds: float) -> Load:
    load, until = Load(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=300, trust_env=False) as http:
        clients = [load.client(http, "search", number, until) for number in range(searchers)]
        clients += [load.client(http, "ask", number, until) for number in range(askers)]
        await asyncio.gather(*clients)
    return load


def _start(home: Path, *, filled: bool) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "ckllm", "--home", str(home)]
    if not filled:
        subprocess.run([*command, "ingest", str(ROOT / "examples/documents"), "--json"], check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "CKLLM_SERVICE__QUEUE_PER_USER": "64"}
    process = subprocess.Popen([*command, "serve", "--port", "0"], env=environment, stderr=subprocess.DEVNULL)
    while True:
        time.sleep(0.5)
        if process.poll() is not None:
            raise SystemExit("the service did not start")
        try:
            address = str(json.loads((home / "service.json").read_text())["address"])
            if httpx.get(f"{address}/ready", trust_env=False).status_code == 200:
                return process, address
        except (OSError, ValueError, httpx.HTTPError):
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searchers", type=int, default=50)
    parser.add_argument("--askers", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--home", type=Path, help="a home with documents, instead of one that is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, address = _start(given.home or Path(folder), filled=given.home is not None)
        try:
            asyncio.run(_run(address, 1, 1, 3))  # what is only opened with the first question
            memory = psutil.Process(process.pid)
            before = memory.memory_info().rss
            began = time.monotonic()
            load = asyncio.run(_run(address, given.searchers, given.askers, given.seconds))
            report = load.report(time.monotonic() - began)
            after = memory.memory_info().rss
        finally:
            process.terminate()
            process.wait(20)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    memory_mb = {"before": before >> 20, "after": after >> 20}
    print(
        json.dumps(
            {**vars(given), "home": None, **report, "memory_mb": memory_mb, "exit": process.returncode, "machine": machine}
        )
    )


if __name__ == "__main__":
    main()
