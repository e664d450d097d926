"""Vectors for chunks, in batches of similar length across documents."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np

from ckllm.contracts import Chunk, Rejected
from ckllm.embedding.base import Embedder, Vectors
from ckllm.errors import DataError
from ingestion.account import Account
from ingestion.known import Prepared
from ingestion.overlap import Overlapped

WINDOW = 512
"""Chunks that are sorted by length together: more gives tighter batches, and documents that wait longer."""
BATCH_TOKENS = 16_384
"""Padded tokens given to the embedder at once; it may cut them into smaller batches for itself."""


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk and the version it belongs to."""

    version: Prepared
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """`vectors` has shape (len(rows), dimension); row i is the vector of rows[i]."""

    rows: list[Row]
    vectors: Vectors


def embedded(
    prepared: Overlapped[Prepared], embedder: Callable[[], Embedder], account: Account
) -> Generator[EmbeddedBatch | Rejected, None, None]:
    """Batches as soon as they are computed; every chunk of every version is in one of them.

    A version with a chunk that the embedder refuses, or gives no finite vector for, is rejected once; its other chunks may
    come all the same. The embedder is opened by the first chunk.
    """
    refused: set[str] = set()
    for window in _windows(prepared):
        with account.clock("embed"):
            lengths = embedder().count_tokens([row.chunk.embedding_text for row in window])
        for batch in batches(lengths, BATCH_TOKENS):
            rows = [window[index] for index in batch]
            with account.clock("embed"):
                vectors, faults = _vectors(rows, embedder())
            for index, reason in faults.items():
                job = rows[index].version.job
                if job.version_id not in refused:
                    refused.add(job.version_id)
                    yield Rejected(job.source.uri, "embed", reason)
            kept = [index for index, row in enumerate(rows) if row.chunk.version_id not in refused]
            if kept:
                yield EmbeddedBatch([rows[index] for index in kept], vectors[kept])


def _vectors(rows: list[Row], embedder: Embedder) -> tuple[Vectors, dict[int, str]]:
    """Vectors of shape (len(rows), dimension), and why some of them cannot be used."""
    faults: dict[int, str] = {}
    try:
        vectors = embedder.embed([row.chunk.embedding_text for row in rows], "passage")
    except DataError:
        vectors = np.zeros((len(rows), embedder.dimension), np.float32)
        for index, row in enumerate(rows):
            try:
                vectors[index] = embedder.embed([row.chunk.embedding_text], "passage")[0]
            except DataError as error:
                faults[index] = str(error)
    for index, vector in enumerate(vectors):
        if not np.isfinite(vector).all():
            faults[index] = f"{embedder.name} gave a vector that is not finite: check the model"
    return vectors, faults


def batches(lengths: list[int], limit: int) -> Iterator[list[int]]:
    """Indices by length, longest first, in groups of at most `limit` padded tokens (or one text)."""
    group: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if group and (len(group) + 1) * longest > limit:
            yield group
            group = []
        if not group:
            longest = max(1, lengths[index])
        group.append(index)
    if group:
        yield group


def _windows(prepared: Overlapped[Prepared]) -> Iterator[list[Row]]:
    """Up to WINDOW chunks at a time; fewer when the parsers have nothing ready, so that the processor is never left waiting."""
    window: list[Row] = []
    for version in prepared:
        for chunk in version.chunks:
            window.append(Row(version, chunk))
            if len(window) == WINDOW:
                yield window
                window = []
        if window and not prepared.ready():
            yield window
            window = []
    if window:
        yield window
