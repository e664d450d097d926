"""Typed stand-ins: a store in a dictionary, parsers in this process, and a power cut at a chosen step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.contracts import Document, Hit, Source
from ckllm.embedding.base import Vectors
from ckllm.errors import DataError
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ingestion.parse.detect import detect
from ingestion.parse.formats import parse


class DictStore:
    """Chunks in dictionaries; searching is not its business."""

    def __init__(self) -> None:
        self.indexes: dict[str, IndexDescription] = {}
        self.rows: dict[str, dict[str, tuple[ChunkRecord, Vectors]]] = {}

    def create(self, index: IndexDescription) -> None:
        self.indexes[index.name] = index
        self.rows.setdefault(index.name, {})

    def describe(self, name: str) -> IndexDescription | None:
        return self.indexes.get(name)

    def drop(self, name: str) -> None:
        self.indexes.pop(name, None)
        self.rows.pop(name, None)

    def upsert(self, name: str, records: Sequence[ChunkRecord], vectors: Vectors) -> None:
        assert vectors.shape == (len(records), self.indexes[name].dimension)
        self.rows[name] |= {one.chunk.chunk_id: (one, vector.copy()) for one, vector in zip(records, vectors, strict=True)}

    def flush(self, name: str) -> None:
        assert name in self.indexes

    def delete_versions(self, name: str, version_ids: Sequence[str]) -> None:
        gone = set(version_ids)
        self.rows[name] = {key: row for key, row in self.rows[name].items() if row[0].chunk.version_id not in gone}

    def count(self, name: str, version_ids: Sequence[str]) -> dict[str, int]:
        versions = [record.chunk.version_id for record, _ in self.rows[name].values()]
        return {version: versions.count(version) for version in version_ids}

    def search_dense(self, name: str, vectors: Vectors, k: int, where: Filter) -> list[list[Hit]]:
        raise NotImplementedError

    def search_lexical(self, name: str, queries: Sequence[str], k: int, where: Filter) -> list[list[Hit]]:
        raise NotImplementedError

    def similarities(self, name: str, vector: Vectors, chunk_ids: Sequence[str]) -> dict[str, float]:
        raise NotImplementedError

    def scan(self, name: str, batch: int = 1000) -> Iterator[tuple[list[ChunkRecord], Vectors]]:
        rows = list(self.rows[name].values())
        for first in range(0, len(rows), batch):
            some = rows[first : first + batch]
            yield [record for record, _ in some], np.stack([vector for _, vector in some])

    def close(self) -> None: ...


class InlineParsers:
    """`ParserPool` without processes; counts what it parses."""

    parsed: list[str]

    def __init__(self, workers: int, timeout_s: float, memory_mb: int, folder: Path, max_bytes: int = 1 << 40) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    def submit(self, source: Source, media_type: str = "") -> Future[Document]:
        future: Future[Document] = Future()
        InlineParsers.parsed.append(source.uri)
        try:
            future.set_result(parse(source, media_type or detect(source, self._max_bytes), self._folder))
        except DataError as error:
            future.set_exception(error)
        return future

    def close(self) -> None: ...


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
            "create", "drop", "upsert", "flush", "delete_versions", "create_collection", "begin", "parsed", "embedded", "go_live",
            "back_to_parsed", "failed", "remove", "forget", "settle", "point_collection",
        }
    )  # fmt: skip

    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self.STEPS:
            return value
        return lambda *args, **kwargs: self._fuse.pass_through(name, lambda: value(*args, **kwargs))
