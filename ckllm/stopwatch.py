"""Seconds by stage, on a monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from ckllm.contracts import Timings

_STAGES = frozenset(field.name for field in fields(Timings))


class Stopwatch:
    """Begins when it is made. One request uses one stopwatch."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a field of `Timings`."""
        assert name in _STAGES, name
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began

    def mark(self, name: str) -> None:
        """The time since the beginning, the first time that it is marked."""
        assert name in _STAGES, name
        self._seconds.setdefault(name, self.elapsed())

    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def timings(self) -> Timings:
        return Timings(**{name: round(value, 4) for name, value in (self._seconds | {"total_s": self.elapsed()}).items()})
