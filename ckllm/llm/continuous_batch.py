"""Several generations at once in one OpenVINO pipeline: a thread that steps it, and a queue for each request.

The pipeline schedules at every token which requests run together (continuous batching, Yu et al., Orca, OSDI 2022, over paged
attention, Kwon et al., SOSP 2023), so a request does not wait for another to end, and sees nothing of it. One thing they do
share is the generator of random numbers: a request that samples with a seed of its own runs with no other sampling request
beside it; greedy ones always may.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ckllm.errors import UpstreamError

if TYPE_CHECKING:
    import openvino_genai

_Item: TypeAlias = list[int] | Exception | None
"""New tokens; what went wrong; or None at the end."""


class ContinuousBatch:
    """Owns the pipeline: every call into it is made by one thread, which sleeps while there is nothing to do."""

    def __init__(self, pipeline: openvino_genai.ContinuousBatchingPipeline) -> None:
        self._pipeline = pipeline
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._arrived: list[_Ticket] = []
        self._running: list[_Ticket] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="openvino-steps", daemon=True)
        self._thread.start()

    def tokens(self, ids: list[int], config: Any, cancel: threading.Event, seeded: bool = False) -> Iterator[int]:
        """New tokens of one request as they are made. Ends early once `cancel` is set; closing frees the request's memory.

        `seeded`: the request samples, and its seed must give the same answer again.
        """
        ticket = _Ticket(ids, config, samples=bool(config.do_sample), seeded=seeded)
        with self._wake:
            if self._closing:
                raise UpstreamError("the model was closed while a request waited for it")
            self._arrived.append(ticket)
            self._wake.notify()
        try:
            while not cancel.is_set():
                try:
                    item = ticket.items.get(timeout=0.1)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield from item
        finally:
            ticket.cancelled.set()

    @property
    def active(self) -> int:
        """Requests that hold memory of the pipeline."""
        return len(self._running) + len(self._arrived)

    def close(self) -> None:
        """Cancel everything and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # ------------------------------------------------------------------------------------------ the stepping thread

    def _serve(self) -> None:
        while self._wait():
            try:
                self._pipeline.step()
                for ticket in self._running:
                    ticket.collect()
            except Exception as error:  # noqa: BLE001 - without this thread every request would wait for ever
                reason = (str(error).splitlines() or [""])[0] or type(error).__name__
                self._fail(UpstreamError(f"OpenVINO stopped: {reason}"))
                continue
            self._running = [ticket for ticket in self._running if not ticket.ended]
        self._fail(UpstreamError("the model was closed while it generated"))
        del self._pipeline

    def _wait(self) -> bool:
        """Take in what arrived; sleep while there is nothing to step. False once closing."""
        while True:
            with self._wake:
                while not self._closing and not self._arrived and not self._running:
                    self._wake.wait()
                if self._closing:
                    self._running += self._arrived
                    self._arrived = []
                    return False
                admitted = self._admitted()
            for ticket in admitted:
                ticket.begin(self._pipeline, next(self._numbers))
                if not ticket.ended:
                    self._running.append(ticket)
            if self._running:
                return True

    def _admitted(self) -> list[_Ticket]:
        """Take from what arrived all that may run now; sampling requests in the order in which they came."""
        sampling = [ticket for ticket in self._running if ticket.samples]
        admitted: list[_Ticket] = []
        waiting: list[_Ticket] = []
        for ticket in self._arrived:
            alone = not sampling or not (ticket.seeded or any(other.seeded for other in sampling))
            overtakes = any(other.samples for other in waiting)
            if ticket.cancelled.is_set() or not ticket.samples or (alone and not overtakes):
                admitted.append(ticket)
                sampling += [ticket] if ticket.samples else []
            else:
                waiting.append(ticket)
        self._arrived = waiting
        return admitted

    def _fail(self, error: UpstreamError) -> None:
        for ticket in self._running:
            if not ticket.ended:
                ticket.fail(error)
        self._running = []


class _Ticket:
    """One request on its way through the pipeline."""

    def __init__(self, ids: list[int], config: Any, samples: bool, seeded: bool) -> None:
        self._ids, self._config = ids, config
        self.samples, self.seeded = samples, seeded
        self._handle: Any = None
        self.items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        self.ended = False

    def begin(self, pipeline: openvino_genai.ContinuousBatchingPipeline, number: int) -> None:
        import openvino as ov

        if self.cancelled.is_set():
            self._end(None)
            return
        try:
            self._handle = pipeline.add_request(number, ov.Tensor(np.asarray([self._ids], dtype=np.int64)), self._config)
        except RuntimeError as error:
            self._end(UpstreamError(f"OpenVINO refused the request: {str(error).splitlines()[0]}"))

    def collect(self) -> None:
        """Pass on what the last step made."""
        import openvino_genai

        if self.cancelled.is_set():
            self._handle.cancel()
            self._end(None)
            return
        while self._handle.can_read():
            best = max(self._handle.read().values(), key=lambda output: output.score)
            if best.generated_ids:
                self.items.put(list(best.generated_ids))
        status = self._handle.get_status()
        if status == openvino_genai.GenerationStatus.RUNNING:
            return
        ignored = status == openvino_genai.GenerationStatus.IGNORED
        self._end(
            UpstreamError("OpenVINO has no memory left for this request: ask again when others have ended") if ignored else None
        )

    def fail(self, error: Exception) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._end(error)

    def _end(self, item: _Item) -> None:
        self.ended = True
        self.items.put(item)
