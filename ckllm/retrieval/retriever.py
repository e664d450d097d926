"""Candidates for a question: dense and lexical search under one filter, fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Embedder, Vectors
from ckllm.retrieval.fusion import standardised_sum
from ckllm.store.base import Filter, VectorStore

LEXICAL_WEIGHT, DENSE_WEIGHT = 0.2, 0.4
"""Weights of the z-scores; the best-sentence score of :mod:`ckllm.retrieval.rerank` adds 0.3 (measured: docs/decisions.md)."""
_SHORTEST_PIECE = 64
"""Characters; below this a query is not divided, whatever its tokens."""


class Retriever:
    """Searches one index, whose name now `index` gives.

    A hit's `score` after `retrieve` is the weighted sum of the z-scores of its BM25 score and its cosine among the candidates
    of this question: it orders the hits of one question and cannot be compared between questions. `similarity` is the cosine,
    which can.
    """

    def __init__(self, store: VectorStore, index: Callable[[], str], embedder: Embedder) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder

    def embed(self, queries: Sequence[str]) -> Vectors:
        """Query vectors, shape (len(queries), dimension): all queries of a batch together.

        A query above the embedder's limit is embedded in pieces, whose mean stands for it: nothing of it is cut off.
        """
        pieces = [
            self._pieces(query, tokens) for query, tokens in zip(queries, self._embedder.count_tokens(queries), strict=True)
        ]
        vectors = self._embedder.embed([piece for some in pieces for piece in some], "query")
        ends = np.cumsum([len(some) for some in pieces], dtype=np.int64).tolist()
        means = [vectors[end - len(some) : end].mean(axis=0) for some, end in zip(pieces, ends, strict=True)]
        return np.stack([mean / max(float(np.linalg.norm(mean)), 1e-9) for mean in means]) if means else vectors

    def _pieces(self, query: str, tokens: int) -> list[str]:
        if tokens <= self._embedder.max_tokens or len(query) < _SHORTEST_PIECE:
            return [query]
        middle = len(query) // 2
        space = query.rfind(" ", 1, middle)
        halves = (query[: space if space > 0 else middle], query[space if space > 0 else middle :])
        return [piece for half in halves for piece in self._pieces(half, self._embedder.count_tokens([half])[0])]

    def retrieve(self, queries: Sequence[str], vectors: Vectors, candidates: int, where: Filter) -> list[list[Hit]]:
        """For each query the fused candidates of both searches, best first, ranks from 1: at most 2 · `candidates`."""
        if not queries:
            return []
        index = self._index()
        dense = self._store.search_dense(index, vectors, candidates, where)
        lexical = self._store.search_lexical(index, queries, candidates, where)
        return [self._fused(index, vectors[n : n + 1], dense[n], lexical[n]) for n in range(len(queries))]

    def _fused(self, index: str, vector: Vectors, dense: Sequence[Hit], lexical: Sequence[Hit]) -> list[Hit]:
        cosines = {hit.chunk_id: hit.score for hit in dense}
        weights = {hit.chunk_id: hit.score for hit in lexical}
        hits = {hit.chunk_id: hit for hit in (*lexical, *dense)}
        if unknown := [key for key in hits if key not in cosines]:
            cosines |= self._store.similarities(index, vector, unknown)
        floor = min(cosines.values(), default=0.0)
        totals = standardised_sum(
            [
                (DENSE_WEIGHT, {key: cosines.get(key, floor) for key in hits}),
                (LEXICAL_WEIGHT, {key: weights.get(key, 0.0) for key in hits}),
            ]
        )
        found = {
            key: tuple(name for name, scores in (("dense", {h.chunk_id for h in dense}), ("lexical", weights)) if key in scores)
            for key in hits
        }
        return [
            replace(hits[key], rank=rank, score=round(total, 6), similarity=round(cosines.get(key, 0.0), 6), found_by=found[key])
            for rank, (key, total) in enumerate(totals.items(), start=1)
        ]
