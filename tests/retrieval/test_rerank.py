"""The best sentence of a passage moves it; what is not looked at cannot overtake; nothing is embedded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.retrieval.rerank import SENTENCES, BestSentenceReranker, ReadingReranker
from ckllm.retrieval.sentence_scores import SentenceScorer
from tests.reader.words import WordReader


class Counting(HashingEmbedder):
    """Remembers what it was given to embed."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.given += texts if purpose == "passage" else []
        return super().embed(texts, purpose)


def split(text: str, _lang: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for part in text.split(". "):
        spans.append((start, start + len(part)))
        start += len(part) + 2
    return spans


def hit(rank: int, text: str, score: float = 0.0) -> Hit:
    return Hit(
        rank=rank, score=score, text=text, source=f"/{rank}", title="", page=None, section="", start=100, end=100 + len(text),
        document_id=f"d{rank}", chunk_id=f"c{rank}", found_by=("dense",),
    )  # fmt: skip


def scorer(embedder: HashingEmbedder) -> SentenceScorer:
    return SentenceScorer(embedder, split, lambda text: text.lower().replace(".", "").split())


QUERY = "when was the copper mine closed"
ANSWER = "The copper mine was closed in 1911"
PASSAGES = [
    hit(1, "Ducks swim on the pond. Bread is bad for them. They sleep on one leg."),
    hit(2, f"Trams ran to the valley. {ANSWER}. Its miners left. A chapel stands there. Bells ring at noon."),
    hit(3, "A bakery opened at dawn. Rye was sold out by noon. Queues were long."),
]


def rerank(embedder: HashingEmbedder, hits: Sequence[Hit], depth: int) -> list[Hit]:
    vectors = embedder.embed([QUERY], "query")
    return BestSentenceReranker(scorer(embedder), depth).rerank([QUERY], vectors, [hits])[0]


def test_the_passage_with_the_best_sentence_comes_first() -> None:
    ranked = rerank(HashingEmbedder(), PASSAGES, 3)
    assert ranked[0].chunk_id == "c2"
    assert [one.rank for one in ranked] == [1, 2, 3]
    assert {one.chunk_id for one in ranked} == {"c1", "c2", "c3"}


def test_what_is_behind_the_depth_does_not_overtake() -> None:
    assert rerank(HashingEmbedder(), PASSAGES, 1)[0].chunk_id == "c1"


def test_only_promising_sentences_are_embedded() -> None:
    embedder = Counting()
    rerank(embedder, PASSAGES[1:2], 3)
    assert ANSWER in embedder.given
    assert len(embedder.given) == SENTENCES


def test_all_sentences_are_looked_at_where_no_word_is_shared() -> None:
    embedder = Counting()
    rerank(embedder, [hit(1, "Hier steht ein Satz. Noch einer folgt. Ein dritter kommt. Viel mehr noch. Ende.")], 3)
    assert len(embedder.given) == 4  # "Ende." is too short to be scored by itself


def test_nothing_is_embedded_twice_and_scores_agree() -> None:
    embedder = Counting()
    shared = scorer(embedder)
    vector = embedder.embed([QUERY], "query")
    best = shared.best([QUERY], vector, [PASSAGES], SENTENCES)[0]
    scored = shared.score(vector, PASSAGES)
    assert len(embedder.given) == len(set(embedder.given))
    top = max(scored[1], key=lambda span: span.score)
    assert PASSAGES[1].text[top.start - 100 : top.end - 100] == ANSWER
    assert np.isclose(best["c2"], top.score)


def test_no_queries_and_no_hits() -> None:
    embedder = HashingEmbedder()
    reranker = BestSentenceReranker(scorer(embedder), 3)
    assert reranker.rerank([], np.empty((0, embedder.dimension), np.float32), []) == []
    assert reranker.rerank([QUERY], embedder.embed([QUERY], "query"), [[]]) == [[]]


def test_the_passage_that_a_reader_finds_the_answer_in_comes_first() -> None:
    reader = WordReader()
    vectors = HashingEmbedder().embed([QUERY, "ducks"], "query")
    ranked, others = ReadingReranker(reader, 2).rerank([QUERY, "ducks"], vectors, [PASSAGES, []])
    assert [one.chunk_id for one in ranked] == ["c2", "c1", "c3"]
    assert [one.rank for one in ranked] == [1, 2, 3]
    assert reader.given == [one.text for one in PASSAGES[:2]]
    assert others == []


def test_vectors_are_remembered_by_what_they_are_of() -> None:
    embedder = Counting()
    one, score = hit(1, f"{ANSWER}. Ducks swim on the pond."), scorer(embedder)
    vector = embedder.embed([QUERY], "query")
    first = score.score(vector, [one])
    embedder.given.clear()
    assert score.score(vector, [one, one]) == [*first, *first] and embedder.given == []
    other = replace(one, text=one.text.replace("copper", "silver"))  # under the same name
    assert score.score(vector, [other])[0][0].score != first[0][0].score
    assert embedder.given == [ANSWER.replace("copper", "silver")]
    assert score.score(embedder.embed(["Do ducks swim?"], "query"), [one]) != first
