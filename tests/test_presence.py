"""A stale announcement is not taken for a running service."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ckllm import presence
from ckllm.config import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path, environment={})


@pytest.fixture
def announced() -> Iterator[presence.Presence]:
    """What this process would announce of a service without a socket, whose port takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield presence.Presence(os.getpid(), address, "store", "", "token", "settings", time.time())


def test_a_process_that_lives_and_answers_is_running(settings: Settings, announced: presence.Presence) -> None:
    presence.publish(settings, announced)
    assert presence.running(settings) == announced


def test_a_port_that_another_process_has_taken_is_not_the_service(settings: Settings, announced: presence.Presence) -> None:
    unused = max(psutil.pids()) + 100_000
    presence.publish(settings, replace(announced, pid=unused))
    assert presence.running(settings) is None


def test_a_process_that_began_after_the_announcement_is_another_one(settings: Settings, announced: presence.Presence) -> None:
    presence.publish(settings, replace(announced, started=psutil.Process().create_time() - 60))
    assert presence.running(settings) is None


def test_the_embedded_stores_socket_decides_where_there_is_one(
    settings: Settings, announced: presence.Presence, tmp_path: Path
) -> None:
    path = tmp_path / "store.sock"
    presence.publish(settings, replace(announced, socket=str(path)))
    assert presence.running(settings) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        assert presence.running(settings) is not None
    assert presence.running(settings) is None, "the socket is still there, but nobody listens"


def test_an_announcement_without_an_answer_is_not_running(settings: Settings, announced: presence.Presence) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        presence.publish(settings, replace(announced, address=f"http://127.0.0.1:{free.getsockname()[1]}"))
        assert presence.running(settings) is None
