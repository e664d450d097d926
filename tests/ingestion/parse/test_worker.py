"""The pool: a file that hangs, crashes or eats memory costs only that file, and no process outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ckllm.contracts import Source
from ckllm.errors import DataError
from ingestion.parse import worker
from ingestion.parse.worker import ParserPool
from tests.ingestion.parse.reading import source_of, write

MISBEHAVING = """
import os, sys, time
from pathlib import Path
from ingestion.parse import formats
def parse(source, media_type, folder, original=formats.parse):
    word = Path(source.path).read_text()
    if word == "hang": time.sleep(600)
    if word == "crash": __import__("ctypes").string_at(0)
    if word == "eat": hold = [bytearray(b"x" * 50_000_000) for _ in range(200)]
    if word == "full": raise OSError(28, "No space left on device")
    if word == "raise": raise ZeroDivisionError("of the\\nparser")
    if word == "network":
        import socket
        socket.create_connection(("127.0.0.1", 9), 1)
    if word == "print": os.write(1, b"noise"); print("more noise")
    if word == "child":
        import subprocess
        subprocess.run(["sleep", "600"])
    return original(source, media_type, folder)
formats.parse = parse
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers whose parser does what the file says."""
    write(tmp_path, "misbehaving.py", MISBEHAVING)
    program = worker.PROGRAM.replace("from ingestion.parse.child", "import misbehaving; from ingestion.parse.child")
    monkeypatch.setattr(worker, "PROGRAM", program)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def file(folder: Path, word: str) -> Source:
    return source_of(write(folder, f"{word}.txt", word))


@pytest.mark.parametrize(
    ("word", "timeout_s", "reason"),
    [
        ("hang", 12, r"parsing took more than 12 s and was stopped"),
        ("child", 12, r"parsing took more than 12 s and was stopped"),
        ("crash", 30, r"the parser crashed \(SIGSEGV\)"),
        ("eat", 30, "more than 300 MB of memory|more memory than it may have"),
        ("raise", 30, "cannot be parsed: ZeroDivisionError: of the parser"),
        ("network", 30, "parsers reach no network"),
    ],
)
def test_one_bad_file_costs_only_itself(misbehaving: Path, word: str, timeout_s: float, reason: str) -> None:
    with ParserPool(1, timeout_s, 300, misbehaving) as pool:
        before = pool.submit(file(misbehaving, "good"))
        bad = pool.submit(file(misbehaving, word))
        after = pool.submit(file(misbehaving, "fine"))
        assert before.result().text == "good"
        with pytest.raises(DataError, match=reason) as caught:
            bad.result()
        assert "\n" not in str(caught.value)
        assert after.result().text == "fine"


def test_a_full_disk_is_no_fault_of_the_file(misbehaving: Path) -> None:
    with ParserPool(1, 60, 2048, misbehaving) as pool, pytest.raises(OSError, match="No space left"):
        pool.submit(file(misbehaving, "full")).result()


def test_what_a_parser_prints_does_not_mix_with_its_answer(misbehaving: Path) -> None:
    with ParserPool(1, 20, 300, misbehaving) as pool:
        assert pool.submit(file(misbehaving, "print")).result().text == "print"


def test_many_files_on_two_workers(tmp_path: Path) -> None:
    sources = [source_of(write(tmp_path, f"{number}.md", f"# Title {number}\n\nwords")) for number in range(60)]
    with ParserPool(2, 20, 1000, tmp_path) as pool:
        futures = [pool.submit(source) for source in sources]
        assert [future.result().title for future in futures] == [f"Title {number}" for number in range(60)]


def test_a_rejection_crosses_the_border_as_one_line(tmp_path: Path) -> None:
    with ParserPool(1, 20, 1000, tmp_path) as pool, pytest.raises(DataError, match="empty file"):
        pool.submit(source_of(write(tmp_path, "a.txt", b""))).result()


def test_closing_stops_what_runs_and_leaves_no_process(misbehaving: Path) -> None:
    before = set(psutil.Process().children())  # servers and trackers that other tests keep
    pool = ParserPool(2, 60, 300, misbehaving)
    futures = [pool.submit(file(misbehaving, "hang")) for _ in range(3)]
    children = [child for child in wait_for_children(os.getpid(), len(before) + 1) if child not in before]
    assert children
    start = time.monotonic()
    pool.close()
    assert time.monotonic() - start < 30
    for future in futures:
        with pytest.raises(DataError, match="run was ended"):
            future.result(timeout=1)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_workers_die_with_a_killed_parent(tmp_path: Path, misbehaving: Path) -> None:
    script = write(
        tmp_path,
        "parent.py",
        f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(worker.__file__).resolve().parents[2])!r}]
from pathlib import Path
from ckllm.contracts import Source
from ingestion.parse import worker
worker.PROGRAM = {worker.PROGRAM!r}
path = Path({str(file(tmp_path, "hang").path)!r})
pool = worker.ParserPool(1, 600, 1000, Path({str(tmp_path)!r}))
pool.submit(Source(str(path), path, 4, "")).result()
""",
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    try:
        (child, *_) = wait_for_children(parent.pid, 1)
        time.sleep(0.5)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        child.wait(timeout=30)
    finally:
        parent.kill()


def wait_for_children(pid: int, count: int) -> list[psutil.Process]:
    for _ in range(800):
        children = psutil.Process(pid).children()
        if len(children) >= count:
            return children
        time.sleep(0.05)
    raise AssertionError("no worker was started")
