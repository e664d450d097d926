"""A collection to ingest into, without models or a database server, and what can be seen of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ckllm.config import Settings
from ckllm.contracts import VersionState, digest
from ckllm.embedding.base import Embedder
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.store.base import IndexDescription, VectorStore
from ckllm.store.catalogue import Catalogue, CollectionRow
from ckllm.store.memory import MemoryStore
from tests.ingestion.fakes import Fuse, Fused

Span = tuple[str, int, int, str]


@dataclass
class Collection:
    """Has what `ingestion.target.Target` asks for."""

    home: Path
    catalogue: Catalogue
    store: VectorStore
    embedder: Embedder
    collection: str = "main"

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home)

    @property
    def index(self) -> IndexDescription:
        row = self.catalogue.collection(self.collection)
        if row is None:
            index = IndexDescription(f"index_{digest(self.collection, size=4)}", self.embedder.name, self.embedder.dimension)
            self.store.create(index)
            self.catalogue.create_collection(
                CollectionRow(self.collection, index.name, index.embedder, index.dimension, time.time())
            )
            return index
        return IndexDescription(row.index, row.embedder, row.dimension)

    def fused(self, fuse: Fuse) -> Collection:
        """The same collection behind a fuse."""
        catalogue, store = cast(Any, Fused(self.catalogue, fuse)), cast(Any, Fused(self.store, fuse))
        return Collection(self.home, catalogue, store, self.embedder, self.collection)

    def stored(self) -> list[Span]:
        """Every chunk in the store, hidden or not; duplicates would show."""
        rows = [record for records, _ in self.store.scan(self.index.name) for record in records]
        return sorted((row.source, row.chunk.start, row.chunk.end, row.chunk.text) for row in rows)

    def visible(self) -> list[Span]:
        """What a search could find."""
        hidden = set(self.catalogue.hidden_versions(self.collection))
        rows = [record for records, _ in self.store.scan(self.index.name) for record in records]
        return sorted(
            (row.source, row.chunk.start, row.chunk.end, row.chunk.text) for row in rows if row.chunk.version_id not in hidden
        )

    def catalogued(self) -> list[Span]:
        """Every chunk of every version that the catalogue has in any state."""
        return sorted(
            (version.source, chunk.start, chunk.end, chunk.text)
            for version in self.catalogue.versions(self.collection)
            for chunk in self.catalogue.chunks(version.version_id)
        )

    def states(self) -> dict[str, str]:
        return {Path(row.source).name: row.state for row in self.catalogue.documents(self.collection)}

    def check(self) -> None:
        """Store and catalogue hold the same, all of it live, nothing twice."""
        assert self.stored() == self.visible() == self.catalogued()
        assert len(set(self.stored())) == len(self.stored())
        assert {version.state for version in self.catalogue.versions(self.collection)} <= {VersionState.LIVE}


def collection_in(home: Path, store: VectorStore | None = None, name: str = "main") -> Collection:
    home.mkdir(parents=True, exist_ok=True)
    return Collection(home, Catalogue(f"sqlite:///{home / 'catalogue.db'}"), store or MemoryStore(), HashingEmbedder(64), name)


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    paths = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def names(sources: Sequence[str]) -> list[str]:
    return [Path(source).name for source in sources]
