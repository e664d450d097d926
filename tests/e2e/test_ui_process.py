"""`ckllm ui` as a process: what it starts, what it prints, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from ckllm import presence
from ckllm.config import load_settings
from tests.e2e.browsing import answers, free_ports, until

ENVIRONMENT = {
    **os.environ, "CKLLM_EMBEDDING__MODEL": "hashing", "CKLLM_LLM__ENGINE": "scripted", "CKLLM_SERVICE__PORT": "0",
}  # fmt: skip


@contextmanager
def ui(home: Path, port: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ckllm", "--home", str(home), "ui", "--port", str(port), *more]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, start_new_session=True, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_one_address_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    [port] = free_ports(1)
    settings = load_settings(tmp_path, environment={})
    with ui(tmp_path, port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        service = presence.running(settings)
        assert service is not None
        assert "<title>" in httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=60).text
        assert httpx.get(f"{service.address}/health", trust_env=False, timeout=60).json()["status"] == "ok"
        assert handshake(port, f"127.0.0.1:{port}") == 101
        assert handshake(port, "rebound.example") == 403
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not answers(port)
    assert presence.find(settings) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_nothing_is_left_behind_when_it_is_killed(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with ui(tmp_path, port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait(60)
        until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children), "they have ended")
    assert not answers(port)


def handshake(port: int, host: str) -> int:
    """The status that the page's web socket answers to a browser that believes it talks to `host`."""
    headers = {
        "Host": host, "Origin": f"http://{host}", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    lines = ["GET /_stcore/stream HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(100).split()[1])


def test_a_port_that_is_taken_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ui(tmp_path, taken.getsockname()[1]) as process:
        assert process.wait(60) == 2
        assert process.stderr is not None
        assert "already in use; give another --port" in process.stderr.read()
    assert not (tmp_path / "service.json").exists()


def test_an_address_that_is_not_this_machines_is_told_as_such(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with ui(tmp_path, port, "--host", "192.0.2.1") as process:
        assert process.wait(60) == 2
        assert process.stderr is not None
        assert "Cannot assign requested address" in process.stderr.read()


def test_a_running_service_is_used_and_stays(tmp_path: Path) -> None:
    ports = free_ports(2)
    settings = load_settings(tmp_path, environment={})
    command = [sys.executable, "-m", "ckllm", "--home", str(tmp_path), "serve", "--port", str(ports[0])]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True) as service:
        try:
            until(lambda: presence.running(settings) is not None, "the service is there")
            with ui(tmp_path, ports[1]) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == f"http://127.0.0.1:{ports[1]}\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
                assert service.poll() is None
                assert presence.running(settings) is not None
        finally:
            service.terminate()
            service.wait(60)
