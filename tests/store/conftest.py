"""Stores to test: exact in memory, Milvus Lite in this process, Milvus over the network; catalogues on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.store.base import VectorStore
from ckllm.store.catalogue import Catalogue
from ckllm.store.memory import MemoryStore
from ckllm.store.milvus import MilvusStore


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server on port {port} did not start (exit code {process.poll()})")


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Milvus that speaks gRPC over TCP, in a process of its own."""
    port = free_port()
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)
    try:
        await_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def lite_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusStore]:
    store = MilvusStore(str(tmp_path_factory.mktemp("lite") / "milvus.db"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def server_store(server_uri: str) -> Iterator[MilvusStore]:
    store = MilvusStore(server_uri)
    yield store
    store.close()


@pytest.fixture(params=["memory", "lite", "server"])
def store(request: pytest.FixtureRequest) -> VectorStore:
    if request.param == "memory":
        return MemoryStore()
    found: MilvusStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def index_name(request: pytest.FixtureRequest) -> str:
    """Stores live for the whole session: each test has an index of its own."""
    return f"i{abs(hash(request.node.nodeid)):x}"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of our own on a loopback port; skipped where there is none. It refuses to run as root."""
    programs = shutil.which("initdb"), shutil.which("pg_ctl")
    if None in programs:
        pytest.skip("PostgreSQL (initdb, pg_ctl) is not installed")
    initdb, pg_ctl = (str(program) for program in programs)
    # not below pytest's folder, which it makes unreadable for others again and again
    folder = Path(tempfile.mkdtemp(prefix="ckllm-postgres-"))
    user: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    port = free_port()
    data = str(folder / "data")
    subprocess.run([*user, initdb, "-D", data, "-U", "ckllm", "-A", "trust", "-E", "UTF8"], check=True, capture_output=True)
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    start = [*user, pg_ctl, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start"]
    subprocess.run(start, check=True, capture_output=True)
    yield f"postgresql://ckllm@127.0.0.1:{port}/postgres"
    stopped = subprocess.run([*user, pg_ctl, "-D", data, "-m", "immediate", "stop"], capture_output=True, text=True)
    shutil.rmtree(folder, ignore_errors=stopped.returncode != 0)
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(params=["sqlite", "postgres"])
def catalogue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'catalogue.db'}"
    url = str(request.getfixturevalue("postgres_url"))
    from sqlalchemy import text

    from ckllm.store.catalogue_schema import open_engine

    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def catalogue(catalogue_url: str) -> Iterator[Catalogue]:
    opened = Catalogue(catalogue_url)
    yield opened
    opened.close()
