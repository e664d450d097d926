"""The seam between ckllm and a vector database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ckllm.contracts import OWNER, Access, Chunk, Hit
from ckllm.embedding.base import Vectors

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """What an index says of itself; opening it with anything else is refused, by name."""

    name: str
    """The name in the database; a collection points at one index, and `reembed` at a new one."""
    embedder: str
    dimension: int
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A chunk with the citation metadata that is stored beside its vector."""

    chunk: Chunk
    source: str
    title: str
    lang: str
    groups: tuple[str, ...]
    sha256: str
    """Of the source's bytes."""
    ingested_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What may be found. Everything here is applied inside the database, before ranking."""

    access: Access = OWNER
    where: str = ""
    """A condition that `ckllm.store.filter.parse_where` has checked and translated."""
    hidden_versions: tuple[str, ...] = field(default=())
    """Versions that are not live: being written, or on their way out."""


class VectorStore(Protocol):
    """Milvus in whichever form; all methods raise `StoreError` when the database does not serve."""

    def create(self, index: IndexDescription) -> None:
        """Create an index; one of the same name and description may exist already."""

    def describe(self, name: str) -> IndexDescription | None:
        """What the index of that name says of itself; None if there is none."""

    def drop(self, name: str) -> None: ...

    def upsert(self, name: str, records: Sequence[ChunkRecord], vectors: Vectors) -> None:
        """Write chunks; one with the same chunk_id is replaced. Visible to the next search; durable after `flush`."""

    def flush(self, name: str) -> None:
        """Return once everything written is on disk."""

    def delete_versions(self, name: str, version_ids: Sequence[str]) -> None: ...

    def count(self, name: str, version_ids: Sequence[str]) -> dict[str, int]:
        """Chunks of each version (0 included)."""

    def search_dense(self, name: str, vectors: Vectors, k: int, where: Filter) -> list[list[Hit]]:
        """For each query vector the k nearest chunks by cosine, best first; `Hit.score` and `similarity` are the cosine."""

    def search_lexical(self, name: str, queries: Sequence[str], k: int, where: Filter) -> list[list[Hit]]:
        """For each query the k best chunks by BM25, best first; `Hit.score` is the BM25 score, `similarity` 0."""

    def similarities(self, name: str, vector: Vectors, chunk_ids: Sequence[str]) -> dict[str, float]:
        """Cosine of one query vector (shape (1, dimension)) and each stored chunk."""

    def scan(self, name: str, batch: int = 1000) -> Iterator[tuple[list[ChunkRecord], Vectors]]:
        """Every stored chunk with its vector, for export and checks."""

    def close(self) -> None: ...
