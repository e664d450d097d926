"""Stages that run at the same time: a generator in a thread of its own, with a bounded queue between it and its reader."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_JOIN_S = 0.05
_POLL_S = 0.05


class _End:
    """The generator is done, or has failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Overlapped(Generic[T]):
    """Iterates over `items`, which run ahead in another thread by at most `ahead` items.

    An exception in the thread is raised to the reader. Leaving the context stops the thread and closes the generator, in that
    thread, so that what it holds open is given back. Once `halt` is set, a reader that waits is told that there is no more.
    """

    def __init__(self, items: Generator[T, None, None], ahead: int, name: str, halt: threading.Event) -> None:
        self._items = items
        self._halt = halt
        self._queue: queue.Queue[T | _End] = queue.Queue(max(1, ahead))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            # a writer that waits for room gets it
            while self.ready():
                self._queue.get_nowait()
            self._thread.join(_JOIN_S)

    def ready(self) -> bool:
        """Whether the next item is there already."""
        return not self._queue.empty()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._next()
        if not isinstance(item, _End):
            return item
        if not self._halt.is_set():
            self._queue.put(item)  # for whoever asks again
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _next(self) -> T | _End:
        while True:
            try:
                return self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._halt.is_set():
                    return _End()

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                self._queue.put(item)
                if self._stopped.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are read
            end = _End(error)
        finally:
            self._items.close()
        self._queue.put(end)
