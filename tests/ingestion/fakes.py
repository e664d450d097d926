"""Typed stand-ins: parsers in this process, and a power cut at a chosen step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, Source
from ckllm.errors import DataError
from ingestion.parse.detect import detect
from ingestion.parse.formats import parse


class InlineParsers:
    """`ParserPool` without processes; counts what it parses."""

    parsed: list[str]

    def __init__(self, workers: int, timeout_s: float, memory_mb: int, folder: Path, max_bytes: int = 1 << 40) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    def submit(self, source: Source, media_type: str = "") -> Future[Document]:
        InlineParsers.parsed.append(source.uri)
        future: Future[Document] = Late() if len(InlineParsers.parsed) % 2 else Future()
        try:
            future.set_result(parse(source, media_type or detect(source, self._max_bytes), self._folder))
        except DataError as error:
            future.set_exception(error)
        return future

    def close(self) -> None: ...


class Late(Future[Document]):
    """Not done before it is waited for."""

    _awaited = False

    def done(self) -> bool:
        return self._awaited

    def result(self, timeout: float | None = None) -> Document:
        self._awaited = True
        return super().result(timeout)


class PowerCutError(BaseException):
    """The machine is off: no handler of the program runs after it."""


class Fuse:
    """Blows before or after the nth step, and stays blown."""

    def __init__(self, step: int, *, after: bool, error: Callable[[], BaseException] = PowerCutError) -> None:
        self.steps = 0
        self.blown = False
        self.last = ""
        self._step, self._after, self._error = step, after, error
        self._lock = threading.Lock()

    def pass_through(self, name: str, call: Callable[[], Any]) -> Any:
        with self._lock:  # steps of different threads take turns, so that a step is done or not done
            if self.blown:
                raise self._error()
            self.steps += 1
            if self.steps == self._step:
                self.blown = True
                self.last = name
                if self._after:
                    call()
                raise self._error()
            return call()


class Fused:
    """An object whose changing methods pass through a fuse."""

    STEPS = frozenset(
        {
            "create", "drop", "upsert", "flush", "delete_versions", "create_collection", "advance", "begin", "parsed", "embedded",
            "go_live", "back_to_parsed", "failed", "remove", "forget", "settle", "point_collection",
        }
    )  # fmt: skip

    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self.STEPS:
            return value
        return lambda *args, **kwargs: self._fuse.pass_through(name, lambda: value(*args, **kwargs))
