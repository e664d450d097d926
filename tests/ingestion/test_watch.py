from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ckllm.contracts import IngestReport
from ckllm.errors import UsageError
from ingestion import watch as module
from ingestion.watch import Changes, watch
from tests.ingestion.collection import Collection, write


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
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
    thread.join(10)
    assert not thread.is_alive()
    assert sum(report.added for report in reports) >= 4 and sum(report.removed for report in reports) >= 2
    kb.check()


def test_changes_in_the_home_directory_are_its_own() -> None:
    class Event:
        event_type = "modified"
        src_path = "/data/home/catalogue.db"

    changes = Changes(home="/data/home/")
    changes.dispatch(Event())  # type: ignore[arg-type]
    changes.stop.set()
    assert not changes.wait()


def test_addresses_cannot_be_watched(kb: Collection) -> None:
    with pytest.raises(UsageError, match="watched"):
        next(watch(["http://example.org/"], kb))
