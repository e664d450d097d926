"""Putting the candidates into a better order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ckllm.contracts import Hit
from ckllm.embedding.base import Vectors
from ckllm.reader.base import Reader, read_until_sure
from ckllm.retrieval.fusion import best_first, standardised
from ckllm.retrieval.sentence_scores import SentenceScorer

SENTENCE_WEIGHT = 0.3
"""Weight of the best-sentence z-score beside 0.2 BM25 and 0.4 dense (measured: docs/decisions.md)."""

READING_WEIGHT = 0.3
"""Weight of the z-score of the reader's margin in place of the best sentence's (measured: docs/decisions.md)."""
SENTENCES = 1
"""Of each passage, that are scored: the most promising ones (measured: docs/decisions.md)."""


class Reranker(Protocol):
    def rerank(self, queries: Sequence[str], vectors: Vectors, candidates: Sequence[Sequence[Hit]], /) -> list[list[Hit]]:
        """The same hits in a new order, with new ranks and scores, a list for each query.

        `vectors` are the queries', shape (len(queries), dimension).
        """


class IdentityReranker:
    """Keeps the order."""

    def rerank(self, _queries: Sequence[str], _vectors: Vectors, candidates: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        return [list(hits) for hits in candidates]


class BestSentenceReranker:
    """Adds the z-score of each passage's best sentence.

    One sentence that answers outweighs a passage that is about the subject. Only the first `depth` hits are scored, each by its
    `SENTENCES` most promising sentences: looking at more changed nothing. The hits
    behind get the lowest of their scores, so that all scores stay comparable and a passage that shone in neither search
    cannot overtake one that was looked at.
    """

    def __init__(self, scorer: SentenceScorer, depth: int) -> None:
        self._scorer = scorer
        self._depth = depth

    def rerank(self, queries: Sequence[str], vectors: Vectors, candidates: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        best = self._scorer.best(queries, vectors, [hits[: self._depth] for hits in candidates], SENTENCES)
        return [reordered(hits, scores, SENTENCE_WEIGHT) for hits, scores in zip(candidates, best, strict=True)]


class ReadingReranker:
    """Adds the z-score of how surely each of the first passages answers, as the reader sees it: of `depth`, or of fewer where one
    of them surely does.
    """

    def __init__(self, reader: Reader, depth: int) -> None:
        self._reader = reader
        self._depth = depth

    def rerank(self, queries: Sequence[str], _vectors: Vectors, candidates: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        return [self._one(query, hits) for query, hits in zip(queries, candidates, strict=True)]

    def _one(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        read = hits[: self._depth]
        readings = read_until_sure(self._reader, query, read)
        margins = {hit.chunk_id: reading.answer()[0] for hit, reading in zip(read, readings, strict=False)}
        return reordered(hits, margins, READING_WEIGHT)


def reordered(hits: Sequence[Hit], scores: Mapping[str, float], weight: float) -> list[Hit]:
    """`hits` by their own score and the weighted z-score of those in `scores`; the others get the lowest of these."""
    if not hits:
        return []
    added = standardised(scores)
    lowest = min(added.values())
    totals = best_first({hit.chunk_id: hit.score + weight * added.get(hit.chunk_id, lowest) for hit in hits})
    by_id = {hit.chunk_id: hit for hit in hits}
    return [replace(by_id[key], rank=rank, score=round(total, 6)) for rank, (key, total) in enumerate(totals.items(), start=1)]
