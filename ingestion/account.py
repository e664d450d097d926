"""The books of one run: every source that was seen is in them once. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ckllm.contracts import IngestReport, Rejected
from ingestion.options import Progress, ProgressListener, Step

_LISTEN_EVERY_S = 0.1


class Account:
    """Counts what became of the sources, and the seconds that each stage took."""

    def __init__(self, collection: str, listener: ProgressListener | None = None) -> None:
        self._collection = collection
        self._listener = listener
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._told = 0.0
        self._counts: Counter[str] = Counter()
        self._stages: dict[str, float] = {}
        self._rejected: list[Rejected] = []
        self._steps: dict[str, Step] = {}
        """Not told yet."""
        self._current = ""
        self._parts: dict[str, tuple[int, int]] = {}
        """Chunks written, and how many there are, of sources that are being embedded."""

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Add the time inside to a stage's seconds."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent(stage, time.perf_counter() - began)

    def spent(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds

    def found(self, count: int) -> None:
        """More sources to go through."""
        self._add("found", count, "")

    def reading(self, source: str) -> None:
        """A source was given to the parsers."""
        self._step(Step(source, "reading"))

    def parsed(self, source: str, chunks: int) -> None:
        """A source is read, and its chunks wait to be embedded."""
        with self._lock:
            self._parts[source] = (0, chunks)
        self._step(Step(source, "embedding", of=chunks))

    def unchanged(self, source: str) -> None:
        self._step(Step(source, "unchanged"))
        self._add("unchanged", 1, source)

    def written(self, source: str, *, replaced: bool) -> None:
        """A document went live."""
        self._step(Step(source, "updated" if replaced else "added"))
        self._add("updated" if replaced else "added", 1, source)

    def rejected(self, rejected: Rejected) -> None:
        self._step(Step(rejected.source, "rejected", rejected.reason))
        with self._lock:
            self._rejected.append(rejected)
        self._tell(rejected.source)

    def removed(self, count: int) -> None:
        self._add("removed", count, "")

    def chunks(self, counts: Mapping[str, int]) -> None:
        """So many chunks of these sources were written to the store."""
        for source, count in counts.items():
            with self._lock:
                done, of = self._parts.get(source, (0, 0))
                self._parts[source] = done, of = done + count, of
            self._step(Step(source, "embedding" if done < of else "written", done=done, of=of))
        self._add("chunks", sum(counts.values()), next(reversed(list(counts)), ""))

    def report(self) -> IngestReport:
        """The end: what the listener has not been told yet, it is told now."""
        self._tell(self._current, last=True)
        with self._lock:
            return IngestReport(
                collection=self._collection,
                added=self._counts["added"],
                updated=self._counts["updated"],
                unchanged=self._counts["unchanged"],
                removed=self._counts["removed"],
                rejected=tuple(sorted(self._rejected, key=lambda one: (one.source, one.stage))),
                chunks=self._counts["chunks"],
                seconds=round(time.perf_counter() - self._began, 3),
                stages={stage: round(seconds, 3) for stage, seconds in self._stages.items()},
            )

    def _step(self, step: Step) -> None:
        with self._lock:
            if step.state not in ("embedding", "written"):
                self._parts.pop(step.source, None)
            if self._listener is not None:
                self._steps[step.source] = step

    def _add(self, what: str, count: int, source: str) -> None:
        with self._lock:
            self._counts[what] += count
        self._tell(source)

    def _tell(self, source: str, *, last: bool = False) -> None:
        if self._listener is None:
            return
        with self._lock:
            self._current = source
            if last and not self._steps:
                return
            now = time.perf_counter()
            done = sum(self._counts[what] for what in ("added", "updated", "unchanged")) + len(self._rejected)
            if not last and now - self._told < _LISTEN_EVERY_S and done < self._counts["found"]:
                return
            self._told = now
            progress = Progress(
                found=max(done, self._counts["found"]),
                done=done,
                rejected=len(self._rejected),
                chunks=self._counts["chunks"],
                seconds=now - self._began,
                current=source,
                steps=tuple(self._steps.values()),
            )
            self._steps.clear()
            self._listener(progress)


def merged(collection: str, reports: Sequence[IngestReport]) -> IngestReport:
    """Several runs on one collection as one."""
    stages: dict[str, float] = {}
    for report in reports:
        for stage, seconds in report.stages.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return IngestReport(
        collection=collection,
        added=sum(report.added for report in reports),
        updated=sum(report.updated for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        removed=sum(report.removed for report in reports),
        rejected=tuple(rejected for report in reports for rejected in report.rejected),
        chunks=sum(report.chunks for report in reports),
        seconds=round(sum(report.seconds for report in reports), 3),
        stages=dict(stages),
    )
