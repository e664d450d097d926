"""Milvus Lite's folder: its lock, what survives SIGKILL, what is synced, and what an unusable store says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckllm.errors import StoreError
from ckllm.store.base import Filter, IndexDescription
from ckllm.store.milvus import MilvusStore

from .conftest import await_port, free_port
from .records import DIMENSION, records, unit_vectors

INDEX = IndexDescription("main", "hashing-16", DIMENSION)
ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from ckllm.store.milvus import MilvusStore
store = MilvusStore(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
store.close()
"""

WRITE = """
import sys
from ckllm.store.base import IndexDescription
from ckllm.store.milvus import MilvusStore
from tests.store.records import DIMENSION, records, unit_vectors
store = MilvusStore(sys.argv[1])
store.create(IndexDescription("main", "hashing-16", DIMENSION))
everything, vectors = records(400, 3), unit_vectors(400, 3)
for start in range(0, 400, 8):
    store.upsert("main", everything[start : start + 8], vectors[start : start + 8])
    print("upserted", start, flush=True)
    if start % 24 == 0:
        store.flush("main")
    if start % 80 == 40:
        store.delete_versions("main", [f"v{start // 4}"])
        print("deleted", start // 4, flush=True)
print("done", flush=True)
"""

READ = """
import sys
from ckllm import light_imports
from ckllm.contracts import Access
from ckllm.store.base import Filter
from ckllm.store.milvus import MilvusStore
from tests.store.records import unit_vectors
store = MilvusStore(sys.argv[1])
vectors = unit_vectors(2, 7)
for where in (Filter(), Filter(Access("ana", ("staff",)), 'page in [1, 2] or lang == "en"', hidden_versions=("v1",))):
    assert all(store.search_dense("main", vectors, 5, where))
    found = store.search_lexical("main", ["stone bridge"], 5, where)
    assert found[0]
assert store.similarities("main", unit_vectors(1, 7), [hit.chunk_id for hit in found[0]])
assert store.describe("main") is not None
store.close()
openvino = light_imports.openvino()
heavy = ("pandas", "pymilvus", "grpc", "faiss", "torch", "openvino.tools.ovc")
print([name for name in heavy if name in sys.modules], openvino.convert_model.__name__)
import milvus_lite.index.factory, faiss
print(milvus_lite.index.factory.is_faiss_available())
"""


SERVE = """
import sys
from ckllm.store.milvus import MilvusStore
store = MilvusStore(sys.argv[1])
socket = store.socket
print([name for name in ("pandas", "pymilvus") if name in sys.modules])
other = MilvusStore(f"unix:{socket}")
print(other.describe("main").embedder)
from pymilvus import DataType, MilvusClient, grpc_gen
print(DataType.VARCHAR.name, "pandas" in sys.modules, hasattr(grpc_gen, "milvus_pb2"))
other.close()
store.close()
"""


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_a_folder_in_use_is_waited_for_and_then_named(tmp_path: Path) -> None:
    folder = tmp_path / "milvus.db"
    other = spawn(HOLD, str(folder))
    assert other.stdout is not None and other.stdin is not None and other.stdout.readline() == "open\n"
    begun = time.monotonic()
    with pytest.raises(StoreError, match=r"milvus\.db is open in another process \(waited 0.5 s\).*lock_timeout_s") as error:
        MilvusStore(str(folder), lock_timeout_s=0.5)
    assert time.monotonic() - begun < 20 and "\n" not in str(error.value)
    threading.Timer(1.0, other.stdin.close).start()
    MilvusStore(str(folder), lock_timeout_s=120).close()
    assert other.wait(60) == 0


@pytest.mark.parametrize("after", [5, 32])
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    """Killed while writing: every acknowledged chunk and deletion is there, and the store goes on."""
    folder = tmp_path / "milvus.db"
    writer = spawn(WRITE, str(folder))
    assert writer.stdout is not None
    upserted, deleted = 0, set()
    for line in writer.stdout:
        word, _, number = line.strip().partition(" ")
        if word == "upserted":
            upserted = int(number) + 8
        elif word == "deleted":
            deleted.add(f"v{number}")
        if upserted >= 8 * after:
            os.kill(writer.pid, signal.SIGKILL)
            break
    writer.wait(20)
    everything = records(400, 3)
    store = MilvusStore(str(folder), lock_timeout_s=10)
    try:
        found = {record.chunk.chunk_id: record for some, _ in store.scan("main") for record in some}
        expected = [record for record in everything[:upserted] if record.chunk.version_id not in deleted]
        for record in expected:
            # a deletion may have been carried out without its acknowledgement
            version = int(record.chunk.version_id[1:])
            assert found.get(record.chunk.chunk_id) == record or version % 20 == 10, record.chunk.version_id
        assert not {record.chunk.version_id for record in found.values()} & deleted
        store.upsert("main", everything, unit_vectors(400, 3))
        store.flush("main")
        counts = store.count("main", [f"v{n}" for n in range(100)])
        assert set(counts.values()) == {4}
    finally:
        store.close()


def test_a_torn_copy_of_the_vectors_loses_nothing(tmp_path: Path) -> None:
    """Lite writes such copies besides the vectors; killed while it did so, it left an empty one and refused the folder."""
    folder = tmp_path / "milvus.db"
    store = MilvusStore(str(folder))
    store.create(INDEX)
    store.upsert("main", records(40, 3), unit_vectors(40, 3))
    store.flush("main")
    store.close()
    (segment,) = folder.rglob("data_*.parquet")
    assert not list(folder.rglob("*.idx"))
    torn = segment.parent.parent / "indexes" / f"{segment.stem}.dense.flat.idx"
    torn.parent.mkdir(exist_ok=True)
    torn.touch()
    store = MilvusStore(str(folder))
    ((best,),) = store.search_dense("main", unit_vectors(40, 3)[:1], 1, Filter())
    assert best.chunk_id == records(40, 3)[0].chunk.chunk_id
    store.close()


def test_a_collection_is_opened_once_by_threads_that_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of one folder would write two logs of one name, and lose what the other one acknowledged."""
    from milvus_lite import db
    from milvus_lite.engine.collection import Collection

    folder = tmp_path / "milvus.db"
    store = MilvusStore(str(folder))
    store.create(INDEX)
    store.close()
    together = threading.Barrier(2)

    def opened(*given: Any, **named: Any) -> Collection:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(1.0)
        return Collection(*given, **named)

    monkeypatch.setattr(db, "Collection", opened)
    store = MilvusStore(str(folder))
    other = MilvusStore(f"unix:{store.socket}")
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(one.search_dense, "main", unit_vectors(1, 3), 1, Filter()) for one in (store, other)]
    assert [one.result() for one in both] == [[[]], [[]]]
    other.upsert("main", records(8, 3), unit_vectors(8, 3))
    other.close()
    assert together.broken and len(store.search_dense("main", unit_vectors(1, 3), 9, Filter())[0]) == 8
    store.close()


def test_an_index_of_which_only_the_folder_was_made_is_made(tmp_path: Path) -> None:
    """By a process that was killed then, or on a full disk."""
    (tmp_path / "milvus.db" / "collections" / "main").mkdir(parents=True)
    store = MilvusStore(str(tmp_path / "milvus.db"))
    store.create(INDEX)
    store.upsert("main", records(8, 1), unit_vectors(8, 1))
    assert store.count("main", ["v0", "v1"]) == {"v0": 4, "v1": 4}
    store.close()


def test_a_dropped_index_leaves_no_file_even_where_its_removal_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "milvus.db"
    store = MilvusStore(str(folder))
    store.create(INDEX)
    store.upsert("main", records(8, 1), unit_vectors(8, 1))
    store.flush("main")
    with monkeypatch.context() as cut_off:
        cut_off.setattr("shutil.rmtree", lambda *_, **__: None)
        store.drop("main")
    assert store.describe("main") is None
    store.close()
    assert list(folder.rglob("*.parquet"))
    MilvusStore(str(folder)).close()
    assert not list(folder.rglob("*.parquet"))


def test_reading_imports_no_client_and_takes_nothing_away(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    store.create(INDEX)
    store.upsert("main", records(200, 3), unit_vectors(200, 3))
    store.flush("main")
    store.delete_versions("main", ["v0"])
    store.close()
    reader = spawn(READ, str(tmp_path / "milvus.db"))
    out, err = reader.communicate(timeout=120)
    assert out.splitlines() == ["[] convert_model", "True"], err


def test_serving_imports_no_client_and_takes_nothing_away(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    store.create(INDEX)
    store.close()
    out, err = spawn(SERVE, str(tmp_path / "milvus.db")).communicate(timeout=120)
    assert out.splitlines() == ["[]", INDEX.embedder, "VARCHAR True True"], err


def test_what_is_written_through_the_server_is_read_directly_at_once(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    everything, vectors = records(40, 3), unit_vectors(40, 3)
    store.create(INDEX)
    store.upsert("main", everything, vectors)
    other = MilvusStore(f"unix:{store.socket}")
    keys = [record.chunk.chunk_id for record in everything]
    for step in range(3):
        for where in (Filter(), Filter(hidden_versions=("v2",))):
            ours, theirs = (one.search_dense("main", vectors[:3], 9, where) for one in (store, other))
            assert [[hit.chunk_id for hit in hits] for hits in ours] == [[hit.chunk_id for hit in hits] for hits in theirs]
            assert ours[0][0].text == theirs[0][0].text and ours[0][0].score == pytest.approx(theirs[0][0].score, abs=1e-5)
            ours, theirs = (one.search_lexical("main", ["stone bridge", "piedra"], 9, where) for one in (store, other))
            assert [{hit.chunk_id for hit in hits} for hits in ours] == [{hit.chunk_id for hit in hits} for hits in theirs]
        assert store.similarities("main", vectors[:1], [*keys, "unknown"]) == pytest.approx(
            other.similarities("main", vectors[:1], keys), abs=1e-5
        )
        other.delete_versions("main", [f"v{step + 5}"])
    assert len(store.similarities("main", vectors[:1], keys)) == 40 - 3 * 4
    other.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.search_dense("main", vectors[:1], 3, Filter())


def test_a_language_that_another_process_wrote_is_searched_at_once(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    store.create(INDEX)
    made, vectors = records(200, 3), unit_vectors(200, 3)
    spanish = next(record for record in made if record.lang == "es" and "corriendo" in record.chunk.text)
    store.upsert("main", [record for record in made if record.lang == "en"][:4], vectors[:4])
    assert store.search_lexical("main", ["corrieron"], 3, Filter()) == [[]]
    other = MilvusStore(f"unix:{store.socket}")
    other.upsert("main", [spanish], vectors[4:5])
    assert store.search_lexical("main", ["corrieron"], 3, Filter())[0][0].chunk_id == spanish.chunk.chunk_id
    other.close()
    store.close()


def test_data_files_are_synced_before_the_manifest_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    synced = os.fsync

    def fsync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        synced(descriptor)

    store = MilvusStore(str(tmp_path / "milvus.db"))
    try:
        store.create(INDEX)
        store.upsert("main", records(8, 1), unit_vectors(8, 1))
        monkeypatch.setattr(os, "fsync", fsync)
        store.flush("main")
        data = next(n for n, name in enumerate(events) if name.startswith("data_") and name.endswith(".parquet"))
        manifest = next(n for n, name in enumerate(events) if name.startswith("manifest"))
        assert data < manifest, events
        events.clear()
        store.delete_versions("main", ["v0"])
        assert any(name.startswith("delta_") for name in events), "a deletion is durable when it returns"
    finally:
        store.close()


def test_many_flushes_leave_few_segments(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    everything, vectors = records(60, 2), unit_vectors(60, 2)
    store.create(INDEX)
    for start in range(0, 60, 3):
        store.upsert("main", everything[start : start + 3], vectors[start : start + 3])
        store.flush("main")
    store.close()  # waits for the compaction
    assert len(list(tmp_path.glob("milvus.db/collections/main/partitions/*/data/*.parquet"))) < 8
    store = MilvusStore(str(tmp_path / "milvus.db"))
    try:
        assert sum(len(some) for some, _ in store.scan("main")) == 60
        assert store.describe("main") == INDEX
        assert store.search_lexical("main", ["मंदिर"], 3, Filter())[0], "the languages are known after opening again"
    finally:
        store.close()


def test_another_process_reads_what_was_closed(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "with space ünï"))
    store.create(INDEX)
    store.upsert("main", records(4, 1), unit_vectors(4, 1))
    store.close()
    store.close()
    again = MilvusStore(str(tmp_path / "with space ünï"))
    assert again.count("main", ["v0"]) == {"v0": 4}
    again.close()


def test_what_cannot_be_opened_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file, and Milvus Lite keeps its data in a folder"):
        MilvusStore(str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"cannot be opened|Not a directory"):
        MilvusStore(str(tmp_path / "file" / "below"))
    with pytest.raises(StoreError, match="no Milvus address"):
        MilvusStore("ftp://host/x")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="not reachable") as error:
        MilvusStore(f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - begun < 40 and "\n" not in str(error.value)
    store = MilvusStore(str(tmp_path / "lite"))
    with pytest.raises(StoreError, match=r"does not exist|not found|can't find"):
        store.count("nothing_there", ["v"])
    store.close()
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_a_server_that_goes_away_is_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(tmp_path / "d"), "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port, server)
        store = MilvusStore(f"http://127.0.0.1:{port}")
        store.create(replace(INDEX))
        server.kill()
        server.wait(10)
        monkeypatch.setattr("ckllm.store.milvus._READ_S", 3.0)
        begun = time.monotonic()
        with pytest.raises(StoreError, match=r"not reachable.*store\.uri") as error:
            store.search_lexical("main", ["x"], 3, Filter())
        assert time.monotonic() - begun < 40 and "Traceback" not in str(error.value)
        store.close()
    finally:
        server.kill()
        server.wait(10)
    out, err = capfd.readouterr()
    assert out == "" and err == ""
