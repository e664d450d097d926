"""SIGKILL at random moments, the folder changing in between: after the next run everything is there, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ckllm.contracts import VersionState
from tests.ingestion import kill_driver

ROOT = Path(__file__).parents[2]
WORDS = [
    "valve",
    "pump",
    "engine",
    "filter",
    "pressure",
    "oil",
    "water",
    "start",
    "stop",
    "check",
    "replace",
    "weekly",
    "daily",
    "seal",
]


def fill(folder: Path, draw: random.Random) -> None:
    folder.mkdir()
    for number in range(30):
        change(folder / f"{number:02d}.{draw.choice(('txt', 'md', 'html', 'csv'))}", draw)


def change(path: Path, draw: random.Random) -> None:
    sentences = [" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(draw.randint(3, 30))]
    if path.suffix == ".html":
        path.write_text(f"<html><body><h1>Notes</h1>{''.join(f'<p>{one}</p>' for one in sentences)}</body></html>")
    elif path.suffix == ".csv":
        path.write_text("part,work\n" + "\n".join(f"{n},{one}" for n, one in enumerate(sentences)))
    else:
        path.write_text("\n\n".join(sentences))


def shuffle(folder: Path, draw: random.Random) -> None:
    """Some files change, one goes, one comes."""
    files = sorted(folder.iterdir())
    for path in draw.sample(files, 8):
        change(path, draw)
    draw.choice(files).unlink()
    change(folder / f"new{draw.randrange(10**6)}.txt", draw)


def start(home: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ingestion.kill_driver", str(home), str(folder)], cwd=ROOT, start_new_session=True
    )


def snapshot(home: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], set[str]]:
    """Chunks of the store and of the catalogue, and the states of versions."""
    with kill_driver.opened(home) as kb:
        stored: list[tuple[Any, ...]] = sorted(
            (one.source, one.chunk.chunk_id, one.chunk.start, one.chunk.end, one.chunk.text, one.chunk.context, tuple(vector))
            for records, vectors in kb.store.scan(kb.index.name)
            for one, vector in zip(records, vectors.tolist(), strict=True)
        )
        versions = kb.catalogue.versions(kb.collection)
        catalogued: list[tuple[Any, ...]] = sorted(
            (version.source, chunk.chunk_id, chunk.start, chunk.end, chunk.text, chunk.context)
            for version in versions
            for chunk in kb.catalogue.chunks(version.version_id)
        )
        return stored, catalogued, {str(version.state) for version in versions}


def survive(tmp_path: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    folder, home = tmp_path / "documents", tmp_path / "home"
    fill(folder, draw)
    began = time.monotonic()
    assert start(tmp_path / "timed", folder).wait() == 0
    whole = time.monotonic() - began
    hits = tries = 0
    while hits < kills:
        tries += 1
        assert tries < 4 * kills, "the runs end before they can be killed"
        began = time.monotonic()
        process = start(home, folder)
        try:
            process.wait(draw.uniform(0.25, 1.0) * whole)
            whole = time.monotonic() - began  # the machine is less busy now, or there is less to do
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            hits += 1
        shuffle(folder, draw)
    assert start(home, folder).wait() == 0
    assert start(tmp_path / "clean", folder).wait() == 0
    stored, catalogued, states = snapshot(home)
    assert states == {VersionState.LIVE}
    assert [row[:6] for row in stored] == catalogued
    assert (stored, catalogued, states) == snapshot(tmp_path / "clean")


@pytest.mark.timeout(1200)  # how long a run takes is the machine's business; that it ends is the test's
def test_fifteen_kills_end_as_one_clean_run(tmp_path: Path) -> None:
    survive(tmp_path, 15, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills_end_as_one_clean_run(tmp_path: Path) -> None:
    survive(tmp_path, 100, 2)


@pytest.mark.timeout(600)
def test_two_ingestions_at_once_neither_lose_nor_duplicate(tmp_path: Path) -> None:
    draw = random.Random(3)
    folder, home = tmp_path / "documents", tmp_path / "home"
    fill(folder, draw)
    both = [start(home, folder), start(home, folder)]
    assert [process.wait() for process in both] == [0, 0]
    assert start(tmp_path / "clean", folder).wait() == 0
    assert snapshot(home) == snapshot(tmp_path / "clean")
