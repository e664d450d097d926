"""What ingestion needs of a knowledge base; `ckllm.knowledge_base.KnowledgeBase` has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ckllm.config import Settings
    from ckllm.embedding.base import Embedder
    from ckllm.store.base import IndexDescription, VectorStore
    from ckllm.store.catalogue import Catalogue


class Target(Protocol):
    """One collection to write to. Store, embedder and index may be opened on first use; each raises StoreError if it cannot."""

    @property
    def collection(self) -> str: ...

    @property
    def home(self) -> Path:
        """Where the lock and temporary files go."""

    @property
    def settings(self) -> Settings: ...

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def store(self) -> VectorStore: ...

    @property
    def embedder(self) -> Embedder: ...

    @property
    def index(self) -> IndexDescription:
        """The collection's index; made, with the collection, where there is none yet."""
