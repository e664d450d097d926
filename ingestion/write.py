"""The last stage: chunks into the store, versions through their states.

For every version, in this order, each step one transaction or one that can be done twice:
chunks upserted → EMBEDDED → flushed → LIVE (and what it replaces OBSOLETE) → theirs deleted, flushed → forgotten.
"""

from __future__ import annotations

import time
from collections import Counter

from ckllm.contracts import Rejected
from ckllm.errors import DataError
from ckllm.store.base import ChunkRecord
from ingestion.account import Account
from ingestion.embed import EmbeddedBatch, Row
from ingestion.known import Job
from ingestion.options import IngestOptions
from ingestion.recovery import drop_obsolete
from ingestion.target import Target


class Writer:
    """Takes batches in any order; a version goes live once all of its chunks are in. Call `checkpoint` at the end."""

    def __init__(self, target: Target, account: Account, options: IngestOptions, groups: tuple[str, ...]) -> None:
        self._target = target
        self._account = account
        self._options = options
        self._groups = groups
        self._ingested_at = time.time()
        self._missing: dict[str, int] = {}
        self._refused: set[str] = set()
        self._embedded: dict[str, Job] = {}
        self._unflushed = 0
        self._flushed_at = time.monotonic()

    def write(self, batch: EmbeddedBatch | Rejected) -> None:
        """Store one batch; a checkpoint follows when enough has come together."""
        with self._account.clock("store"):
            if isinstance(batch, Rejected):
                self._reject(batch)
                return
            self._upsert(batch)
        waited = time.monotonic() - self._flushed_at
        if self._unflushed >= self._options.checkpoint_chunks or waited >= self._options.checkpoint_s:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Everything that is complete goes live."""
        with self._account.clock("store"):
            if self._embedded:
                self._target.store.flush(self._target.index.name)
                self._target.catalogue.go_live(self._embedded)
                for job in self._embedded.values():
                    self._account.written(job.source.uri, replaced=job.replaces)
                self._embedded.clear()
            drop_obsolete(self._target, self._target.collection)
        self._unflushed = 0
        self._flushed_at = time.monotonic()

    def _upsert(self, batch: EmbeddedBatch) -> None:
        """A version with a chunk that the store cannot hold is rejected; it takes nothing else with it, and no more of it is
        stored: its chunks may have been dropped and forgotten already."""
        kept = [place for place, row in enumerate(batch.rows) if row.chunk.version_id not in self._refused]
        if not kept:
            return
        batch = EmbeddedBatch([batch.rows[place] for place in kept], batch.vectors[kept])
        records = [self._record(row) for row in batch.rows]
        try:
            self._target.store.upsert(self._target.index.name, records, batch.vectors)
        except DataError as error:
            parts = _by_version(batch)
            if len(parts) > 1:
                for part in parts:
                    self._upsert(part)
            else:
                self._refused.add(batch.rows[0].chunk.version_id)
                self._reject(Rejected(records[0].source, "store", str(error)))
            return
        self._account.chunks(Counter(record.source for record in records))
        self._unflushed += len(records)
        self._count(batch.rows)

    def _reject(self, rejected: Rejected) -> None:
        self._target.catalogue.failed(self._target.collection, rejected, groups=self._groups)
        self._account.rejected(rejected)

    def _count(self, rows: list[Row]) -> None:
        """Versions of which this was the last chunk are EMBEDDED."""
        complete: dict[str, Job] = {}
        for row in rows:
            version_id = row.chunk.version_id
            left = self._missing.get(version_id, len(row.version.chunks)) - 1
            if left:
                self._missing[version_id] = left
            else:
                self._missing.pop(version_id, None)
                complete[version_id] = row.version.job
        if complete:
            self._target.catalogue.embedded(complete)
            self._embedded |= complete

    def _record(self, row: Row) -> ChunkRecord:
        job = row.version.job
        return ChunkRecord(
            chunk=row.chunk,
            source=job.source.uri,
            title=row.version.title,
            lang=row.version.lang,
            groups=job.groups,
            sha256=job.source.sha256,
            ingested_at=self._ingested_at,
        )


def _by_version(batch: EmbeddedBatch) -> list[EmbeddedBatch]:
    """The batch in parts of one version each."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(batch.rows):
        places.setdefault(row.chunk.version_id, []).append(place)
    return [EmbeddedBatch([batch.rows[place] for place in some], batch.vectors[some]) for some in places.values()]
