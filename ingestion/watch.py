"""Following changes: ingests once, then again whenever something under the sources has changed and come to rest.

Each run goes over all the sources, so that renamed folders, links and limits are judged as in any other run; files that were
not touched since are not read again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ckllm.contracts import IngestReport
from ckllm.errors import UpstreamError, UsageError
from ingestion.options import IngestOptions, ProgressListener
from ingestion.pipeline import ingest
from ingestion.run import Continuation
from ingestion.sources import Hashes
from ingestion.target import Target

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

QUIET_S = 1.0
"""Nothing may have changed for this long before a run starts: a file that is being written is left alone."""
LONGEST_WAIT_S = 30.0
"""Where changes never come to rest, a run starts all the same."""
RETRY_S = 10.0
"""How long after a run that the store, the disk or a server of models stopped the next one starts."""
_IGNORED = frozenset({"opened", "closed_no_write"})


@dataclass(frozen=True, slots=True)
class Between:
    """What the caller does between runs."""

    release: Callable[[], None] = lambda: None
    """After each run: lets others have what one process at a time can use."""
    trouble: Callable[[UpstreamError], None] | None = None
    """Told of a run that was stopped so; the next one is tried soon. Without it the error ends the watch."""


@dataclass(slots=True, eq=False)
class Changes:
    """What the observer's thread tells the one that ingests."""

    home: str = ""
    """Changes under this folder, whose path has no links and ends in a slash, are ckllm's own."""
    stop: threading.Event = field(default_factory=threading.Event)
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _first: float | None = None
    _last: float = 0.0

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog."""
        own = self.home and os.path.realpath(os.fsdecode(event.src_path)).startswith(self.home)
        if event.event_type not in _IGNORED and not own:
            self.note()

    def note(self) -> None:
        with self._condition:
            now = time.monotonic()
            self._first = self._first if self._first is not None else now
            self._last = now
            self._condition.notify_all()

    def again_after(self, seconds: float) -> None:
        """Come back after so long, or when `stop` is set."""
        self.stop.wait(seconds)
        self.note()

    def wait(self) -> bool:
        """Wait for changes that have come to rest; False once `stop` is set (within a second)."""
        while not self.stop.is_set():
            with self._condition:
                now = time.monotonic()
                if self._first is None:
                    self._condition.wait(1.0)
                    continue
                due = min(self._last + QUIET_S, self._first + LONGEST_WAIT_S)
                if now >= due:
                    self._first = None
                    return True
                self._condition.wait(due - now)
        return False


def watch(
    sources: Sequence[str],
    kb: Target,
    *,
    groups: Sequence[str] = (),
    options: IngestOptions | None = None,
    progress: ProgressListener | None = None,
    changes: Changes | None = None,
    between: Between | None = None,
) -> Iterator[IngestReport]:
    """A report for each run that changed or rejected something; documents whose source goes are removed.

    Goes on until `changes.stop` is set or the iterator is closed. Raises UsageError where there is nothing on disk to watch.
    """
    from watchdog.observers import Observer

    changes, between = changes or Changes(), between or Between()
    changes.home = os.path.realpath(kb.home) + os.sep
    hashes: Hashes = {}
    observer = Observer()
    for folder in sorted(watched(sources)):
        observer.schedule(changes, folder, recursive=True)  # type: ignore[arg-type]
    observer.start()
    try:
        changes.note()
        while changes.wait():
            carried = Continuation(hashes=hashes)
            try:
                report = ingest(sources, kb, groups=groups, sync=True, options=options, progress=progress, continuation=carried)
            except UpstreamError as error:
                if between.trouble is None:
                    raise
                between.trouble(error)
                changes.again_after(RETRY_S)
                continue
            finally:
                between.release()
            if report.added or report.updated or report.removed or report.rejected:
                yield report
    finally:
        observer.stop()
        observer.join()


def watched(sources: Sequence[str]) -> set[str]:
    """Existing folders that hold everything the sources name; a glob's is its part before the first pattern.

    Raises UsageError for a source that is not on disk.
    """
    found: set[str] = set()
    for source in sources:
        if source == "-" or "://" in source:
            raise UsageError(f"{source} cannot be watched: give files, folders or globs to --watch")
        path = Path(os.path.abspath(source))  # noqa: PTH100 - links stay links
        while not path.is_dir():
            path = path.parent
        found.add(str(path))
    return found
