from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ckllm.contracts import IngestReport
from ckllm.errors import StoreError, UpstreamError, UsageError
from ingestion import watch as module
from ingestion.pipeline import ingest
from ingestion.run import Continuation
from ingestion.sources import Hashes
from ingestion.watch import Between, Changes, watch
from tests.ingestion.collection import Collection, write


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_changes_are_followed_until_stopped(kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    a, _ = write(folder, {"a.txt": "One.", "sub/b.txt": "Two."})
    changes, reports = Changes(), list[IngestReport]()
    thread = threading.Thread(target=lambda: reports.extend(watch([str(folder)], kb, changes=changes)), daemon=True)
    # extend() shows its items only at the end, so what happens is seen in the catalogue
    thread.start()
    until(lambda: set(kb.states()) == {"a.txt", "b.txt"} and set(kb.states().values()) == {"LIVE"})
    write(folder, {"new/c.txt": "Three."})
    until(lambda: kb.states().get("c.txt") == "LIVE")
    a.unlink()
    until(lambda: "a.txt" not in kb.states())
    (folder / "sub").rename(folder / "moved")
    until(
        lambda: {str(folder / "moved" / "b.txt")} <= {row.source for row in kb.catalogue.documents("main") if row.state == "LIVE"}
    )
    changes.stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert sum(report.added for report in reports) >= 4 and sum(report.removed for report in reports) >= 2
    kb.check()


@pytest.mark.parametrize("kind", [StoreError, UpstreamError])
def test_the_store_is_released_after_each_run_and_it_or_a_server_waited_for(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type[UpstreamError]
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.05)
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    write(folder, {"a.txt": "One."})
    real, told, happened = module.ingest, list[str](), list[str]()

    def first_time_locked(*args: object, **options: object) -> IngestReport:
        happened.append("run")
        if happened.count("run") == 1:
            raise kind("the store is open in another process")
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "ingest", first_time_locked)
    between = Between(lambda: happened.append("released"), lambda error: told.append(str(error)))
    following = watch([str(folder)], kb, between=between)
    assert next(following).added == 1
    assert happened == ["run", "released", "run", "released"]
    assert told == ["the store is open in another process"]
    following.close()


def test_without_a_listener_trouble_ends_the_watch(kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> IngestReport:
        raise StoreError("the store is open in another process")

    monkeypatch.setattr(module, "QUIET_S", 0.05)
    monkeypatch.setattr(module, "ingest", locked)
    with pytest.raises(StoreError, match="another process"):
        next(watch([str(folder)], kb))


def test_a_file_that_only_looks_as_before_is_read_again(kb: Collection, folder: Path) -> None:
    (file,) = write(folder, {"a.txt": "The mill was built in 1802."})
    hashes: Hashes = {}

    def run() -> tuple[int, int, int]:
        report = ingest([str(folder)], kb, continuation=Continuation(hashes=hashes))
        return report.added, report.updated, report.unchanged

    before = file.stat()
    assert (run(), run()) == ((1, 0, 0), (0, 0, 1))
    file.write_text("The mill was built in 1820.", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run() == (0, 1, 0), "size, time and inode are as before"


def test_changes_in_the_home_directory_are_its_own_by_whatever_way_they_are_told(tmp_path: Path) -> None:
    class Event:
        event_type = "modified"
        src_path = str(tmp_path / "link" / "home" / "catalogue.db")

    (tmp_path / "data" / "home").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    changes = Changes(home=str(tmp_path / "data" / "home") + os.sep)
    changes.dispatch(Event())  # type: ignore[arg-type]
    assert changes._first is None
    Event.src_path = str(tmp_path / "link" / "a.txt")
    changes.dispatch(Event())  # type: ignore[arg-type]
    assert changes._first is not None


def test_addresses_cannot_be_watched(kb: Collection) -> None:
    with pytest.raises(UsageError, match="watched"):
        next(watch(["http://example.org/"], kb))
