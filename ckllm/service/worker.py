"""The thread that runs jobs, one after the other: ingestion has one writer at a time anyway."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container
from dataclasses import replace
from typing import TYPE_CHECKING

from ckllm.contracts import to_json
from ckllm.errors import CkllmError
from ckllm.service.errors import problem_of
from ckllm.service.jobs import Jobs, Order
from ckllm.service.logs import log
from ckllm.service.nouns import FileState, JobState

if TYPE_CHECKING:
    from ckllm.knowledge_base import KnowledgeBase
    from ingestion.options import Progress, Step

_LOOK_S = 2.0
"""How often to look for jobs that another process has made."""
_NOTE_S = 0.5
"""How often progress is written down."""


class _EndedError(Exception):
    """The job, or the service, is to end."""


class Worker:
    def __init__(self, jobs: Callable[[], Jobs], base: Callable[[str], KnowledgeBase]) -> None:
        self._jobs, self._base = jobs, base
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """End the running job, to be gone on with later; False where it does not end in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        resumed = False
        while not self._stopping.is_set():
            try:
                if not resumed:
                    self._jobs().resume()
                    resumed = True
                job_id = self._jobs().claim()
                if job_id is not None:
                    self._one(job_id)
                    continue
            except CkllmError as error:
                resumed = False  # a job whose end could not be written down is left running
                log.warning("jobs wait", extra={"fields": {"reason": type(error).__name__}})
            self._wake.wait(_LOOK_S)
            self._wake.clear()

    def _one(self, job_id: str) -> None:
        jobs = self._jobs()
        try:
            report = self._ingest(job_id, jobs.order(job_id))
        except _EndedError:
            if self._stopping.is_set():
                jobs.unclaim(job_id)
            else:
                jobs.finish(job_id, JobState.CANCELLED)
        except CkllmError as error:
            told = problem_of(error, trusted=False).message
            if told != str(error):
                log.error("job failed", extra={"fields": {"job": job_id, "reason": str(error)}})
            jobs.finish(job_id, JobState.FAILED, error=told)
        except Exception:  # noqa: BLE001 - one job's end must not be the end of all
            log.exception("job failed", extra={"fields": {"job": job_id}})
            jobs.finish(job_id, JobState.FAILED, error="an unexpected error; the service's log has it under the job's id")
        else:
            jobs.finish(job_id, JobState.DONE, report)

    def _ingest(self, job_id: str, order: Order) -> dict[str, object]:
        from ingestion.pipeline import ingest, named

        noted = 0.0
        last: Progress | None = None
        places = [place for _, place in order.sources]
        known = frozenset(places)
        files: dict[str, tuple[str, str, int, int]] = {}

        def note(progress: Progress) -> bool:
            """Write down how far the job is; whether it was cancelled."""
            told = to_json(replace(progress, steps=())) | {"files": [(place, *values) for place, values in files.items()]}
            return self._jobs().progressed(job_id, told)

        def listen(progress: Progress) -> None:
            nonlocal noted, last
            if self._stopping.is_set():
                raise _EndedError
            for step in progress.steps:
                _note(files, step, known)
            last = progress
            if time.monotonic() - noted >= _NOTE_S:
                noted = time.monotonic()
                if note(progress):
                    raise _EndedError

        if self._jobs().progressed(job_id, {}):
            raise _EndedError
        report = ingest(named(places), self._base(order.collection), groups=order.groups, progress=listen).as_json()
        if last is not None:
            note(last)
        return report


def _note(files: dict[str, tuple[str, str, int, int]], step: Step, places: Container[str]) -> None:
    """A step of a job's file; of what is in one only that it was opened, and what was rejected."""
    from ingestion.nesting import readings

    container = next((name for name in readings(step.source)[:-1] if name in places), None)
    if container is None or step.state == "rejected":
        files[step.source] = (step.state, step.reason, step.done, step.of)
    if container is not None and files.get(container, (FileState.READING,))[0] == FileState.READING:
        files[container] = (FileState.OPENED, "", 0, 0)
