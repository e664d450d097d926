"""The parts of one run, put together."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ckllm.embedding.base import Embedder
from ckllm.store.catalogue import LiveVersion
from ingestion.account import Account
from ingestion.known import Known
from ingestion.nesting import readings
from ingestion.options import IngestOptions
from ingestion.parse import PARSER_VERSION
from ingestion.parse.worker import ParserPool
from ingestion.prepare import Parsing, Preparation
from ingestion.sources import Finder, Hashes
from ingestion.target import Target
from ingestion.write import Writer

_MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a run takes over from an earlier one."""

    hashes: Hashes | None = None
    again: bool = False
    """Open containers again for the sake of members that failed."""


class Runner(Protocol):
    """Where parsing and embedding are done, if not here; `ingestion.ray_runner` does them on a cluster."""

    @property
    def workers(self) -> int:
        """Files that are parsed at once."""

    def parsers(self, options: IngestOptions, scratch: Path) -> ClosableParsing: ...

    def embedder(self, target: Target) -> Embedder: ...


class ClosableParsing(Parsing, Protocol):
    def close(self) -> None:
        """Nothing is parsed any more; what waits fails with DataError."""


class Run:
    """Finder, preparation and writer of one run, with the parsers they share. Made after recovery, under the writer's lock."""

    def __init__(
        self,
        target: Target,
        account: Account,
        options: IngestOptions,
        groups: tuple[str, ...],
        scratch: Path,
        continuation: Continuation,
        *,
        before: Mapping[str, LiveVersion],
        runner: Runner | None = None,
    ) -> None:
        workers = runner.workers if runner else options.workers or min(os.cpu_count() or 1, _MOST_WORKERS)
        self.halt = threading.Event()
        self._pool: ClosableParsing = (
            runner.parsers(options, scratch)
            if runner
            else ParserPool(workers, options.parse_timeout_s, options.parse_memory_mb, scratch, options.max_file_bytes)
        )
        self._target, self._runner = target, runner
        self._known = Known(target.catalogue, target.collection, groups, options.fingerprint(PARSER_VERSION), before)
        self.finder = Finder(options, scratch, target.home, account, continuation.hashes)
        self.preparation = Preparation(
            target=target,
            known=self._known,
            account=account,
            options=options,
            parsing=self._pool,
            scratch=scratch,
            groups=groups,
            ahead=2 * workers,
            halt=self.halt,
            again=continuation.again,
        )
        self.writer = Writer(target, account, options, groups)

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """On leaving, whatever the reason, nothing is parsed any more and no stage waits for another."""
        try:
            yield
        finally:
            self.halt.set()
            self._pool.close()

    @functools.cached_property
    def _remote_embedder(self) -> Embedder | None:
        return self._runner.embedder(self._target) if self._runner else None

    def embedder(self) -> Embedder:
        """What embeds passages; opened by the first chunk that there is."""
        return self._remote_embedder or self._target.embedder

    def gone(self) -> list[str]:
        """Documents that the given sources cover and that were not found."""
        there = self.preparation.seen - self.finder.listing.missing
        covers = self.finder.listing.covers
        return [uri for uri in self._known.uris() if covers(uri) and there.isdisjoint(readings(uri))]
