"""Seconds by stage, on a monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import TypeAlias

from ckllm.contracts import Timings

Listener: TypeAlias = Callable[[str, float, float], None]
"""Told of each stage that ends: its name, and when it began and ended in seconds of `time.perf_counter`."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_STAGES = frozenset(field.name for field in fields(Timings))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have the listener told of stages that are measured in this context, and in threads that are given a copy of it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def told(stage: str) -> Iterator[None]:
    """A stage of its own, of which only a listener is told."""
    began = time.perf_counter()
    try:
        yield
    finally:
        listener = _listener.get()
        if listener is not None:
            listener(stage, began, time.perf_counter())


class Stopwatch:
    """Begins when it is made. One request uses one stopwatch."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._listener = _listener.get()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a field of `Timings`."""
        assert name in _STAGES, name
        began = time.perf_counter()
        try:
            yield
        finally:
            ended = time.perf_counter()
            self._seconds[name] = self._seconds.get(name, 0.0) + ended - began
            if self._listener is not None:
                self._listener(name.removesuffix("_s"), began, ended)

    def mark(self, name: str) -> None:
        """The time since the beginning, the first time that it is marked."""
        assert name in _STAGES, name
        self._seconds.setdefault(name, self.elapsed())

    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def timings(self) -> Timings:
        return Timings(**{name: round(value, 4) for name, value in (self._seconds | {"total_s": self.elapsed()}).items()})
