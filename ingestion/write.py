"""The last stage: chunks into the store, versions through their states.

For every version, in this order, each step one transaction or one that can be done twice:
chunks upserted → EMBEDDED → flushed → LIVE (and what it replaces OBSOLETE) → theirs deleted, flushed → forgotten.
"""

from __future__ import annotations

import time

from ckllm.contracts import Rejected
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
        self._embedded: dict[str, Job] = {}
        self._unflushed = 0
        self._flushed_at = time.monotonic()

    def write(self, batch: EmbeddedBatch | Rejected) -> None:
        """Store one batch; a checkpoint follows when enough has come together."""
        with self._account.clock("store"):
            if isinstance(batch, Rejected):
                self._target.catalogue.failed(self._target.collection, batch, groups=self._groups)
                self._account.rejected(batch)
                return
            records = [self._record(row) for row in batch.rows]
            self._target.store.upsert(self._target.index.name, records, batch.vectors)
            self._account.chunks(len(records), records[-1].source)
            self._unflushed += len(records)
            self._count(batch.rows)
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
