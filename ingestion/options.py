"""What an ingestion is told, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ckllm.contracts import digest

if TYPE_CHECKING:
    from ckllm.config import IngestSettings

CHUNKER_VERSION = 1
"""Raised whenever the chunker would cut the same document differently: documents are then chunked again."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Limits and sizes of one ingestion."""

    max_file_bytes: int = 100_000_000
    chunk_tokens: int = 256
    overlap_tokens: int = 32
    parse_timeout_s: float = 120.0
    parse_memory_mb: int = 4096
    workers: int = 0
    """Parser processes; 0: as many as cores, at most 4."""
    allow_private_urls: bool = False
    checkpoint_chunks: int = 2000
    """Chunks written between two flushes; what a killed run has to embed again is at most this."""
    checkpoint_s: float = 20.0

    @classmethod
    def from_settings(cls, settings: IngestSettings) -> IngestOptions:
        return cls(
            max_file_bytes=int(settings.max_file_mb * 1_000_000),
            chunk_tokens=settings.chunk_tokens,
            overlap_tokens=min(settings.overlap_tokens, settings.chunk_tokens // 2),
            parse_timeout_s=settings.parse_timeout_s,
            parse_memory_mb=settings.parse_memory_mb,
            workers=settings.workers,
            allow_private_urls=settings.allow_private_urls,
        )

    def fingerprint(self, parser_version: str) -> str:
        """Identity of everything that decides where a document's chunks lie, apart from its bytes.

        The embedder is not part of it: an index has one embedder for life and refuses any other by name, and a collection that
        has moved to another embedder keeps its chunks, so that its documents stay unchanged.
        """
        return digest(parser_version, str(CHUNKER_VERSION), str(self.chunk_tokens), str(self.overlap_tokens))


@dataclass(frozen=True, slots=True)
class Step:
    """Where a source is on its way."""

    source: str
    state: Literal["reading", "embedding", "written", "added", "updated", "unchanged", "rejected"]
    """`written`: all of its chunks are, and the next checkpoint makes them visible."""
    reason: str = ""
    """Why it was rejected."""
    done: int = 0
    """Chunks written."""
    of: int = 0
    """Chunks that it has; 0 until they are known."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is."""

    found: int
    """Sources to go through, as far as they are known."""
    done: int
    """Sources that are settled: unchanged, rejected, or written."""
    rejected: int
    chunks: int
    """Chunks written."""
    seconds: float
    current: str
    """The source last worked on."""
    steps: tuple[Step, ...] = ()
    """Sources that are not where they were when this was last told."""

    @property
    def rate(self) -> float:
        """Chunks a second."""
        return self.chunks / self.seconds if self.seconds > 0 else 0.0


ProgressListener: TypeAlias = Callable[[Progress], None]
