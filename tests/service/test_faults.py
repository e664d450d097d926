"""What the service depends on fails while it is used: the store is killed, the model's server misbehaves, the disk is full."""

from __future__ import annotations

import contextlib
import errno
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ckllm.llm.openai_compatible import OpenAiCompatibleLLM
from ckllm.service.nouns import JobState
from tests.llm.server import FakeServer, Mode
from tests.service.conftest import ROPEWAY
from tests.service.serving import Served, chat, envelope, served, wait_for
from tests.service.test_process import free_port

CHAT = "/v1/chat/completions"
QUESTION = "Who built the ropeway at Gansett?"


# -- the store


@contextlib.contextmanager
def milvus_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    found = shutil.which("milvus-lite", path=str(Path(sys.executable).parent)) or shutil.which("milvus-lite")
    if found is None:
        pytest.skip("the command milvus-lite is not installed")
    command = [found, "server", "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: listens(port), 90)
            yield process
        finally:
            process.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Users:
    """Searchers and askers who never give up, and what they are answered."""

    def __init__(self, service: Served, searchers: int, askers: int) -> None:
        self._url = service.url
        self._stop = threading.Event()
        self.statuses: Counter[int] = Counter()
        kinds = ["/v1/search"] * searchers + [CHAT] * askers
        self._threads = [threading.Thread(target=self._use, args=(path,), daemon=True) for path in kinds]

    def _use(self, path: str) -> None:
        body = {"query": "ropeway Gansett"} if path == "/v1/search" else chat(QUESTION)
        with httpx.Client(base_url=self._url, timeout=120, trust_env=False) as http:
            while not self._stop.is_set():
                self.statuses[http.post(path, json=body).status_code] += 1
                time.sleep(0.05)

    def answered(self, status: int, more: int) -> None:
        """Wait for so many more answers of a status."""
        wanted = self.statuses[status] + more
        wait_for(lambda: self.statuses[status] >= wanted, 90)

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)


def test_a_store_that_is_killed_under_load_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(milvus_server(tmp_path / "milvus", port))
        service = stack.enter_context(served(tmp_path / "home", store__uri=f"http://127.0.0.1:{port}"))
        service.add(tmp_path, "ropeway.txt", ROPEWAY)
        before = service.client().search("ropeway Gansett").hits
        assert before
        with Users(service, 6, 2) as users:
            users.answered(200, 10)
            store.send_signal(signal.SIGKILL)
            store.wait()
            users.answered(503, 5)
            stack.enter_context(milvus_server(tmp_path / "milvus", port))
            users.answered(200, 20)
        assert set(users.statuses) <= {200, 429, 503}
        assert service.client().search("ropeway Gansett").hits == before


# -- the model's server


@pytest.fixture(scope="module")
def model_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model_server: FakeServer) -> Iterator[Served]:
    """Its model is on a server."""
    model = OpenAiCompatibleLLM(model_server.url, "small", timeout_s=2.0, attempts=2)
    with served(tmp_path_factory.mktemp("home"), model=model, routing__default="base") as running:
        running.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield running


@pytest.mark.parametrize("mode", ["silent", "rubbish", "midway", "unfinished", "error_midway", "failing"])
def test_a_models_server_that_misbehaves_costs_its_answers_alone(service: Served, model_server: FakeServer, mode: Mode) -> None:
    with service.http() as http:
        with model_server.behaving(mode, failures=100, delay_s=10):
            whole = http.post(CHAT, json=chat(QUESTION))
            assert (whole.status_code, envelope(whole)["code"]) == (503, "unavailable")
            stream = http.post(CHAT, json=chat(QUESTION, stream=True)).text
            assert "[DONE]" not in stream
            assert http.post("/v1/search", json={"query": "ropeway"}).json()["hits"]
        assert http.post(CHAT, json=chat(QUESTION)).status_code == 200
        wait_for(lambda: service.core.turns.taken == 0)


# -- the disk


def test_a_disk_that_is_full_during_an_upload_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any, target: Any, *__: Any) -> None:
        target.write(b"The first half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with served(tmp_path / "home") as service, service.http() as http:
        files = [("files", ("a.txt", b"The well of Aar is deep.")), ("files", ("b.txt", b"The well of Bru is dry."))]
        with monkeypatch.context() as patch:
            patch.setattr("ckllm.service.uploads.shutil.copyfileobj", full)
            refused = http.post("/v1/documents", files=files)
        assert (refused.status_code, envelope(refused)["code"]) == (503, "store_unavailable")
        assert "No space left" in envelope(refused)["message"]
        assert not [path for path in (tmp_path / "home/uploads").rglob("*") if path.is_file() and path.name != "@lock"]
        assert http.get("/v1/jobs").json()["jobs"] == []
        job = http.post("/v1/documents", files=files).json()["job"]
        assert list(service.client().job_events(job["id"]))[-1].state is JobState.DONE


def test_a_disk_that_is_full_while_the_body_comes_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large for memory goes to the disk before a route sees it."""

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with served(tmp_path / "home") as service, service.http() as http:
        with monkeypatch.context() as patch:
            patch.setattr("starlette.datastructures.UploadFile.write", full)
            refused = http.post("/v1/documents", files=[("files", ("a.txt", b"x" * 100))])
        assert (refused.status_code, envelope(refused)["code"]) == (503, "store_unavailable")
        assert "disk is full" in envelope(refused)["message"]
        assert http.get("/health").status_code == 200
