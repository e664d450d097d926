"""Searching Milvus Lite through every state that writing leaves it in: several segments, versions replaced, rows not flushed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ckllm.contracts import Access, Hit
from ckllm.embedding.base import Vectors
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ckllm.store.memory import MemoryStore
from ckllm.store.milvus import MilvusStore

from .records import DIMENSION, records, unit_vectors

INDEX = IndexDescription("main", "hashing-16", DIMENSION)
RECORDS = records(240, seed=5)
FILTERS = (Filter(), Filter(Access("ana", ("staff",))), Filter(hidden_versions=("v1", "v7", "v30")))
QUESTIONS = ["running stone bridge", "piedra puente", "quark"]
QUERIES = unit_vectors(2, seed=77)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[MilvusStore]:
    store = MilvusStore(str(tmp_path / "milvus.db"))
    store.create(INDEX)
    yield store
    store.close()


@pytest.fixture
def truth() -> MemoryStore:
    store = MemoryStore()
    store.create(INDEX)
    return store


def put(stores: tuple[MilvusStore, MemoryStore], some: list[ChunkRecord], vectors: Vectors) -> None:
    for store in stores:
        store.upsert("main", some, vectors)


def texts(found: list[list[Hit]]) -> list[dict[str, str]]:
    return [{hit.chunk_id: hit.text for hit in hits} for hits in found]


def same(lite: MilvusStore, truth: MemoryStore) -> None:
    """The same chunks under every filter, in their latest state; for vectors also the same scores, rank for rank."""
    for where in FILTERS:
        expected = truth.search_dense("main", QUERIES, 12, where)
        found = lite.search_dense("main", QUERIES, 12, where)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=1e-5)
        assert texts(found) == texts(expected)
        assert texts(lite.search_lexical("main", QUESTIONS, 500, where)) == texts(
            truth.search_lexical("main", QUESTIONS, 500, where)
        )


@pytest.mark.parametrize("seed", range(4))
def test_a_search_sees_the_latest_of_everything(lite: MilvusStore, truth: MemoryStore, seed: int) -> None:
    draw = random.Random(seed)
    for step in range(14):
        chosen = draw.sample(range(len(RECORDS)), 30)
        some = [replace(RECORDS[n], chunk=replace(RECORDS[n].chunk, text=f"{RECORDS[n].chunk.text} {step}")) for n in chosen]
        put((lite, truth), some, unit_vectors(len(some), seed=100 * seed + step))
        if draw.random() < 0.5:
            gone = [f"v{n}" for n in draw.sample(range(60), 4)]
            lite.delete_versions("main", gone)
            truth.delete_versions("main", gone)
        if draw.random() < 0.5:
            lite.flush("main")
        same(lite, truth)
    lite.flush("main")
    same(lite, truth)


def test_bm25_counts_words_over_all_segments(lite: MilvusStore, truth: MemoryStore) -> None:
    """What only adds, in flushes of very different sizes, scores as one index would."""
    begin = 0
    for size in (150, 5, 1, 60, 24):
        put((lite, truth), RECORDS[begin : begin + size], unit_vectors(size, seed=size))
        if size != 24:
            lite.flush("main")
        begin += size
        expected = truth.search_lexical("main", QUESTIONS, 20, Filter())
        for ours, theirs in zip(lite.search_lexical("main", QUESTIONS, 20, Filter()), expected, strict=True):
            np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], rtol=2e-4)


def test_a_deletion_is_seen_before_it_is_flushed(lite: MilvusStore) -> None:
    lite.upsert("main", RECORDS[:8], unit_vectors(8, seed=1))
    lite.flush("main")
    assert len(lite.search_dense("main", QUERIES, 20, Filter())[0]) == 8
    lite.delete_versions("main", ["v0"])
    assert len(lite.search_dense("main", QUERIES, 20, Filter())[0]) == 4
    lite.upsert("main", RECORDS[:2], unit_vectors(2, seed=2))
    assert len(lite.search_dense("main", QUERIES, 20, Filter())[0]) == 6
