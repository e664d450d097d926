"""`ckllm serve` as a process: the other commands beside it, its end, and its death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ckllm.client import Client, UnavailableError

ENVIRONMENT = {
    **os.environ, "CKLLM_EMBEDDING__MODEL": "hashing", "CKLLM_LLM__ENGINE": "scripted", "CKLLM_INGEST__WORKERS": "1",
}  # fmt: skip


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ckllm", "--home", str(home), *arguments]


def ckllm(home: Path, *arguments: str, code: int = 0) -> Any:
    """What a command prints with `--json`."""
    done = subprocess.run(command(home, *arguments, "--json"), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    port = free_port()
    arguments = command(home, "serve", "--port", str(port))
    told = home.parent / "service-stderr.txt"  # a pipe that nobody reads would fill up and stop it
    with (
        told.open("w") as log,
        subprocess.Popen(arguments, env=ENVIRONMENT, stderr=log, text=True, start_new_session=True) as process,
    ):
        client = Client(f"http://127.0.0.1:{port}", timeout_s=60)
        end = time.monotonic() + 180
        try:
            while not ready(client):
                assert process.poll() is None, told.read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            yield process, client
        finally:
            client.close()
            if process.poll() is None:
                process.kill()
                process.wait()


def ready(client: Client) -> bool:
    try:
        return client.ready()
    except UnavailableError:
        return False


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    assert (
        ckllm(home, "ingest", str(write(tmp_path, "a.txt", "The ropeway at Gansett was built by Odile Ferrand.\n")))["added"] == 1
    )
    return home


def test_commands_work_beside_the_service_and_after_its_end(home: Path, tmp_path: Path) -> None:
    later = write(tmp_path, "b.txt", "The lighthouse of Orlund was lit by Marta Vint.\n")
    before = ckllm(home, "search", "ropeway Gansett")["hits"]
    with serving(home) as (process, client), ThreadPoolExecutor(4) as pool:
        assert stat_mode(home / "service.json") == 0o600
        ingest = pool.submit(ckllm, home, "ingest", str(later))
        search = pool.submit(ckllm, home, "search", "ropeway Gansett")
        asked = pool.submit(ckllm, home, "ask", "Who built the ropeway at Gansett?")
        chat = pool.submit(client.ask, "Who built the ropeway at Gansett?")
        assert ingest.result()["added"] == 1
        assert search.result()["hits"][0] == before[0]
        assert asked.result()["answer"] == chat.result().answer
        assert "id" not in asked.result()
        assert "Marta Vint" in client.search("lighthouse Orlund").hits[0].text
        assert len(ckllm(home, "documents", "list")) == len(client.documents()) == 2
        assert "runs already" in ckllm_serve_refused(home)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not (home / "service.json").exists()
    assert len(ckllm(home, "search", "lighthouse Orlund")["hits"]) == 2


def stat_mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def ckllm_serve_refused(home: Path) -> str:
    done = subprocess.run(
        command(home, "serve", "--port", str(free_port())), env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    return done.stderr


def test_as_user_is_respected_through_the_service(home: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, "red.txt", "The payroll cipher is quillfeather.\n")
    ckllm(home, "ingest", str(secret), "--group", "red")
    with serving(home):
        for user, finds in ((None, True), ("nobody", False)):
            extra = ("--as", user) if user else ()
            hits = ckllm(home, "search", "payroll cipher quillfeather", *extra)["hits"]
            assert any("quillfeather" in hit["text"] for hit in hits) is finds
            assert ("quillfeather" in json.dumps(ckllm(home, "ask", "What is the payroll cipher?", *extra))) is finds


def test_without_keys_only_this_machine_may_call(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "API keys" in done.stderr


def ask_until_it_ends(client: Client, conversation: str, answered: list[str]) -> None:
    """Questions of one conversation, one after the other, until the service is gone."""
    while True:
        question = f"Who built the ropeway at Gansett, number {len(answered)}?"
        try:
            client.ask(question, conversation=conversation)
        except UnavailableError:
            return
        answered.append(question)


def test_a_service_killed_while_it_ingests_and_answers_loses_and_doubles_nothing(home: Path) -> None:
    files = [(f"n{number}.txt", f"Note {number} is about subject{number}.".encode()) for number in range(40)]
    answered: list[str] = []
    with serving(home) as (process, client), ThreadPoolExecutor(1) as pool:
        conversation = client.create_conversation().id
        asking = pool.submit(ask_until_it_ends, client, conversation, answered)
        job = client.upload(files)
        for state in client.job_events(job.id):
            if answered and (state.done or state.chunks or state.found):
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        asking.result(60)
    assert (home / "service.json").exists()
    assert ckllm(home, "search", "ropeway Gansett")["hits"], "the command line works beside a dead service"
    with serving(home) as (_, client):
        last = list(client.job_events(job.id))[-1]
        assert last.state == "done"
        turns = [turn.question for turn in client.conversation(conversation).turns]
        assert turns[: len(answered)] == answered, "what was answered is kept"
        assert len(set(turns)) == len(turns) <= len(answered) + 1, "and kept once"
        names = [row.source.rsplit("/", 1)[-1] for row in client.documents() if "/uploads/" in row.source]
        assert sorted(names) == sorted(name for name, _ in files)
        assert {row.state for row in client.documents()} == {"LIVE"}
        hits = client.search("Note subject7", k=100).hits
        assert len({hit.chunk_id for hit in hits}) == len(hits) == 41
