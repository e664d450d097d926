"""One suite over every vector store, with the exact one as ground truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ckllm.contracts import Access, Hit
from ckllm.errors import DataError, StoreError, UsageError
from ckllm.store.base import ChunkRecord, Filter, IndexDescription, VectorStore
from ckllm.store.filter import parse_where
from ckllm.store.memory import MemoryStore

from .records import DIMENSION, SOURCES, records, unit_vectors

INDEX = IndexDescription("", "hashing-16", DIMENSION)
RECORDS = records(120, seed=7)
VECTORS = unit_vectors(120, seed=7)
QUESTIONS = [
    "running stones of the river",
    "montañas y puentes",
    "नदी का मंदिर",
    "寺庙桥梁",
    "جسر النهر",
    "1000 engines",
    "quarks 3.5",
]

FILTERS = {
    "everything": Filter(),
    "nobody": Filter(Access()),
    "staff": Filter(Access("ana", ("staff",))),
    "two groups": Filter(Access("ana", ("law", "%"))),
    "a group that would break out": Filter(Access("eve", ('" or audience like "%',))),
    "the group of that name": Filter(Access("eve", ('" or audience == "',))),
    "unicode group": Filter(Access("bo", ("büro \\ 法",))),
    "language": Filter(where=parse_where({"lang": "hi"})),
    "source": Filter(where=parse_where({"source": SOURCES[1]})),
    "hostile source": Filter(Access("ana", ("staff",)), where=parse_where({"source": [SOURCES[3], SOURCES[4]]})),
    "pages": Filter(where=parse_where("2 <= page < 31 or (section == 'Intro' and not lang in ['en', 'es'])")),
    "not in": Filter(where=parse_where("lang not in ['en', ''] and title != 'T3'")),
    "time": Filter(where=parse_where("ingested_at >= 1700000050.0 and kind != 'table'")),
    "section with quotes": Filter(where=parse_where({"section": 'a "b" \\ c'})),
    "nothing": Filter(where=parse_where("page == -1")),
    "hidden": Filter(hidden_versions=tuple(f"v{n}" for n in range(0, 30, 2))),
    "all hidden": Filter(hidden_versions=tuple(f"v{n}" for n in range(30))),
    "together": Filter(Access("ana", ("staff",)), parse_where("page > 0"), ("v1", "v2", "v3")),
}


@pytest.fixture
def truth() -> MemoryStore:
    store = MemoryStore()
    store.create(replace(INDEX, name="truth"))
    store.upsert("truth", RECORDS, VECTORS)
    return store


@pytest.fixture
def filled(store: VectorStore, index_name: str) -> str:
    store.create(replace(INDEX, name=index_name))
    store.upsert(index_name, RECORDS, VECTORS)
    store.flush(index_name)
    return index_name


def _scores(hits: list[Hit]) -> list[float]:
    return [hit.score for hit in hits]


def _same(found: list[Hit], expected: list[Hit], everything: list[Hit]) -> None:
    """Equal scores, rank for rank; chunks of equal score may stand in any order."""
    np.testing.assert_allclose(_scores(found), _scores(expected), rtol=2e-4, atol=2e-5)
    true_scores = {hit.chunk_id: hit.score for hit in everything}
    for hit in found:
        assert abs(true_scores[hit.chunk_id] - hit.score) < 1e-3
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("name", FILTERS)
def test_search_is_exact_under_every_filter(store: VectorStore, filled: str, truth: MemoryStore, name: str) -> None:
    where = FILTERS[name]
    queries = unit_vectors(3, seed=99)
    dense = store.search_dense(filled, queries, 10, where)
    for found, expected, every in zip(
        dense, truth.search_dense("truth", queries, 10, where), truth.search_dense("truth", queries, 999, where), strict=True
    ):
        _same(found, expected, every)
        assert all(hit.found_by == ("dense",) and hit.similarity == hit.score for hit in found)
    lexical = store.search_lexical(filled, QUESTIONS, 10, where)
    for found, expected, every in zip(
        lexical,
        truth.search_lexical("truth", QUESTIONS, 10, where),
        truth.search_lexical("truth", QUESTIONS, 999, where),
        strict=True,
    ):
        _same(found, expected, every)
        assert all(hit.found_by == ("lexical",) and hit.similarity == 0 and hit.score > 0 for hit in found)
    visible = {hit.chunk_id for hits in truth.search_dense("truth", queries, 999, where) for hit in hits}
    assert {hit.chunk_id for hits in (*dense, *lexical) for hit in hits} <= visible
    if name in ("everything", "staff", "language"):
        assert all(dense) and any(lexical)


def test_hits_carry_what_was_stored(store: VectorStore, filled: str) -> None:
    by_id = {record.chunk.chunk_id: record for record in RECORDS}
    for hit in store.search_dense(filled, unit_vectors(1, seed=3), 120, Filter())[0]:
        record = by_id[hit.chunk_id]
        chunk = record.chunk
        assert (hit.text, hit.start, hit.end, hit.page, hit.section) == (
            chunk.text,
            chunk.start,
            chunk.end,
            chunk.page,
            chunk.section,
        )
        assert (hit.source, hit.title, hit.lang) == (record.source, record.title, record.lang)
        assert (hit.document_id, hit.version_id) == (chunk.document_id, chunk.version_id)


def test_every_language_is_found_by_its_own_words(store: VectorStore, filled: str) -> None:
    for question, lang in (("stones", "en"), ("montañas", "es"), ("मंदिर", "hi"), ("桥梁", "zh"), ("معبد", "ar"), ("xylem", "")):
        hits = store.search_lexical(filled, [question], 5, Filter())[0]
        assert hits and hits[0].lang == lang, question


def test_a_question_without_words_finds_nothing_lexically(store: VectorStore, filled: str) -> None:
    found = store.search_lexical(filled, ["?!…", "river", ""], 5, Filter())
    assert [bool(hits) for hits in found] == [False, True, False]
    assert store.search_lexical(filled, [], 5, Filter()) == []


def test_upsert_replaces_by_chunk_id(store: VectorStore, filled: str) -> None:
    changed = replace(RECORDS[0], title="New", chunk=replace(RECORDS[0].chunk, text="zebra zebra", version_id="v0"))
    vector = unit_vectors(1, seed=1234)
    for _ in range(2):
        store.upsert(filled, [changed, changed], np.vstack([vector, vector]))
    best = store.search_dense(filled, vector, 1, Filter())[0][0]
    assert (best.chunk_id, best.title, best.text) == (RECORDS[0].chunk.chunk_id, "New", "zebra zebra")
    assert [hit.chunk_id for hit in store.search_lexical(filled, ["zebras"], 9, Filter())[0]] == [RECORDS[0].chunk.chunk_id]
    assert store.count(filled, ["v0"]) == {"v0": 4}


def test_delete_versions_and_count(store: VectorStore, filled: str) -> None:
    assert store.count(filled, ["v0", "v29", "none"]) == {"v0": 4, "v29": 4, "none": 0}
    store.delete_versions(filled, ["v0", "v7", "none"])
    store.delete_versions(filled, [])
    assert store.count(filled, ["v0", "v7", "v1"]) == {"v0": 0, "v7": 0, "v1": 4}
    assert sum(len(some) for some, _ in store.scan(filled)) == 112
    store.upsert(filled, RECORDS[:4], VECTORS[:4])
    assert store.count(filled, ["v0"]) == {"v0": 4}


def test_similarities_are_cosines(store: VectorStore, filled: str) -> None:
    query = unit_vectors(1, seed=11)
    ids = [record.chunk.chunk_id for record in RECORDS[10:70]]
    found = store.similarities(filled, query, [*ids, "not-there"])
    assert set(found) == set(ids)
    np.testing.assert_allclose([found[key] for key in ids], (VECTORS[10:70] @ query[0]).tolist(), atol=1e-5)
    assert store.similarities(filled, query, []) == {}


def test_scan_gives_everything_back(store: VectorStore, filled: str) -> None:
    seen: dict[str, tuple[ChunkRecord, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {}
    sizes = []
    for some, vectors in store.scan(filled, batch=50):
        sizes.append(len(some))
        assert vectors.shape == (len(some), DIMENSION) and vectors.dtype == np.float32
        seen |= {record.chunk.chunk_id: (record, vector) for record, vector in zip(some, vectors, strict=True)}
    assert sum(sizes) == len(seen) == 120 and max(sizes) <= 50
    for record, vector in zip(RECORDS, VECTORS, strict=True):
        assert seen[record.chunk.chunk_id][0] == record
        np.testing.assert_array_equal(seen[record.chunk.chunk_id][1], vector)


def test_an_empty_index_can_be_searched(store: VectorStore, index_name: str) -> None:
    store.create(replace(INDEX, name=index_name))
    assert store.search_dense(index_name, unit_vectors(2, seed=1), 5, Filter()) == [[], []]
    assert store.search_lexical(index_name, ["river"], 5, Filter()) == [[]]
    assert list(store.scan(index_name)) == []
    store.flush(index_name)


def test_an_index_describes_itself_and_refuses_another_embedder(store: VectorStore, index_name: str) -> None:
    assert store.describe(index_name) is None
    index = IndexDescription(index_name, "multilingual, “quoted” — embedder", DIMENSION)
    store.create(index)
    store.create(index)
    assert store.describe(index_name) == index
    with pytest.raises(StoreError, match=r"made with the embedder multilingual.*not with.*other.*reembed.*--collection"):
        store.create(IndexDescription(index_name, "other", 32))
    store.drop(index_name)
    store.drop(index_name)
    assert store.describe(index_name) is None
    store.create(IndexDescription(index_name, "other", 32))
    described = store.describe(index_name)
    assert described is not None and described.dimension == 32


def test_what_cannot_be_stored_is_refused_whole(store: VectorStore, index_name: str) -> None:
    store.create(replace(INDEX, name=index_name))
    good, vector = RECORDS[0], VECTORS[:1]
    bad = {
        "lone surrogates": replace(good, title="a\ud800b"),
        "takes 70000 bytes": replace(good, chunk=replace(good.chunk, text="字" * 20_000 + "a" * 10_000)),
    }
    for message, record in bad.items():
        with pytest.raises(DataError, match=message):
            store.upsert(index_name, [good, record], np.vstack([vector, vector]))
    with pytest.raises(DataError, match="length"):
        store.upsert(index_name, [good], vector * 2)
    with pytest.raises(DataError, match="length"):
        store.upsert(index_name, [good], vector * np.nan)
    with pytest.raises(DataError, match="shape"):
        store.upsert(index_name, [good, good], vector)
    assert store.count(index_name, ["v0"]) == {"v0": 0}
    with pytest.raises(UsageError, match="cannot name an index"):
        store.create(replace(INDEX, name="no spaces"))


@pytest.mark.parametrize("text", ["nul\x00inside", "\x01\x1b ctrl", "e\u0301 combining 👩‍👩‍👧 \u202e", " \n\t", "x" * 60_000])
def test_text_comes_back_exactly(store: VectorStore, index_name: str, text: str) -> None:
    store.create(replace(INDEX, name=index_name))
    record = replace(RECORDS[0], groups=(), chunk=replace(RECORDS[0].chunk, text=text))
    store.upsert(index_name, [record], VECTORS[:1])
    store.flush(index_name)
    assert store.search_dense(index_name, VECTORS[:1], 1, Filter())[0][0].text == text
