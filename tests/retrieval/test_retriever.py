"""Candidates from the exact store in memory."""

from __future__ import annotations

from ckllm.contracts import Chunk
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.retrieval.retriever import Retriever
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ckllm.store.memory import MemoryStore


def stored(*texts: str) -> tuple[MemoryStore, HashingEmbedder]:
    store, embedder = MemoryStore(), HashingEmbedder()
    store.create(IndexDescription("main", embedder.name, embedder.dimension))
    chunks = [Chunk(f"c{n}", f"d{n}", f"v{n}", 0, 0, len(text), text, "", None, "") for n, text in enumerate(texts)]
    records = [ChunkRecord(chunk, f"/docs/{n}.txt", "", "en", (), "", 0.0) for n, chunk in enumerate(chunks)]
    store.upsert("main", records, embedder.embed(texts, "passage"))
    return store, embedder


def test_the_words_of_a_question_are_stemmed_once() -> None:
    """ "decision" is stemmed to "decis", and that, stemmed again, to what no document has."""
    store, embedder = stored("The decision was made on Friday.", "The harbour froze in January.")
    retriever = Retriever(store, lambda: "main", embedder)
    [hits] = retriever.retrieve(["decisions"], retriever.embed(["decisions"]), 5, Filter())
    assert hits[0].chunk_id == "c0"
    assert "lexical" in hits[0].found_by
