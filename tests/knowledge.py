"""A knowledge base in memory, for tests: real catalogue, fake store, embedder and language model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Access, Chunk, Document, Element, ElementKind, Source, VersionState, digest
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.base import BaseLLM
from ckllm.llm.scripted import Script, ScriptedLLM
from ckllm.store.base import ChunkRecord
from ckllm.store.memory import MemoryStore

GROUPS = {"ana": ("press", "board"), "bo": ("press",)}


def knowledge_base(
    home: Path,
    script: Script = (),
    *,
    collection: str = "main",
    create: bool = True,
    llm: BaseLLM | None = None,
    **settings: object,
) -> KnowledgeBase:
    """`llm`: in place of a scripted model; the knowledge base closes it."""
    replacements = Replacements(
        MemoryStore(), HashingEmbedder(), llm or ScriptedLLM(script), lambda user: Access(user, GROUPS.get(user, ()))
    )
    chosen = load_settings(home, overrides={key.replace("__", "."): value for key, value in settings.items()}, environment={})
    return open_knowledge_base(collection=collection, settings=chosen, create=create, replacements=replacements)


def add(kb: KnowledgeBase, name: str, text: str, *, groups: Sequence[str] = (), live: bool = True) -> str:
    """Store a document, a chunk for each paragraph; its version id. Not `live`: written, but not shown yet."""
    uri = f"/docs/{name}"
    document_id = digest(kb.collection, uri)
    version_id = digest(document_id, text, *groups)
    kb.index  # noqa: B018 - makes the collection
    source = Source(uri, Path(uri), len(text), digest(text))
    document = Document(name, text, (Element(ElementKind.PARAGRAPH, 0, len(text)),), lang="en", media_type="text/plain")
    chunks = _chunks(document_id, version_id, text)
    kb.catalogue.begin(kb.collection, source, version_id, groups)
    kb.catalogue.parsed(version_id, document, chunks)
    records = [ChunkRecord(chunk, uri, name, "en", tuple(groups), source.sha256, time.time()) for chunk in chunks]
    kb.store.upsert(kb.index.name, records, kb.embedder.embed([chunk.text for chunk in chunks], "passage"))
    kb.catalogue.embedded([version_id])
    if live:
        kb.catalogue.go_live([version_id])
        kb.store.delete_versions(kb.index.name, kb.catalogue.obsolete(kb.collection))
        kb.catalogue.forget(kb.catalogue.obsolete(kb.collection))
    assert bool(kb.catalogue.versions(kb.collection, VersionState.LIVE)) or not live
    return version_id


def _chunks(document_id: str, version_id: str, text: str) -> list[Chunk]:
    chunks, start = [], 0
    for ordinal, part in enumerate(text.split("\n\n")):
        start = text.index(part, start)
        end = start + len(part)
        chunk_id = digest(document_id, version_id, str(start), str(end))
        chunks.append(Chunk(chunk_id, document_id, version_id, ordinal, start, end, part, "", None, ""))
        start = end
    return chunks
