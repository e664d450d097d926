"""Milvus Lite's BM25 scorer over arrays instead of Python lists: the same scores, several times as fast.

Lite 3.2 keeps a posting list as a list of tuples and scores it tuple by tuple: a tenth of a second a question at 20,000 chunks.
This class takes its place in the engine (:func:`install`): same inputs, same outputs, same formula (Robertson and Zaragoza, "The
probabilistic relevance framework", 2009, with the IDF of Lucene). The conformance tests compare it with an exact reference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from milvus_lite.index import sparse_factory, sparse_inverted
from milvus_lite.index.sparse_common import empty_results, validate_mask
from numpy.typing import NDArray

Sparse = Mapping[int, float]
"""Term id → frequency."""


class ArrayBm25(sparse_inverted.SparseInvertedIndex):  # type: ignore[misc]
    """One segment's postings in compressed rows: the documents of term `i` are `_documents[_starts[i] : _starts[i + 1]]`."""

    def build(self, sparse_vectors: Sequence[Sparse], valid_mask: NDArray[np.bool_] | None = None) -> None:
        mask = validate_mask(valid_mask, len(sparse_vectors))
        kept = (
            [v or {} for v in sparse_vectors]
            if mask is None
            else [v if v and keep else {} for v, keep in zip(sparse_vectors, mask, strict=True)]
        )
        sizes = np.fromiter(map(len, kept), dtype=np.int64, count=len(kept))
        total = int(sizes.sum())
        terms = np.fromiter(itertools.chain.from_iterable(kept), dtype=np.int64, count=total)
        frequencies = np.fromiter(itertools.chain.from_iterable(v.values() for v in kept), dtype=np.float32, count=total)
        documents = np.repeat(np.arange(len(kept)), sizes)
        lengths = np.bincount(documents, weights=frequencies, minlength=len(kept)).astype(np.float32)
        order = np.argsort(terms, kind="stable")
        self._terms, first, containing = np.unique(terms[order], return_index=True, return_counts=True)
        self._starts = np.append(first, total)
        self._documents = documents[order]
        self.doc_count = len(kept) if mask is None else int(mask.sum())
        self.avgdl = float(lengths.sum()) / self.doc_count if self.doc_count else 0.0
        self._doc_lengths = lengths
        self._weights = self._weigh(frequencies[order], np.repeat(containing, containing))

    def _weigh(self, frequencies: NDArray[np.float32], containing: NDArray[np.int64]) -> NDArray[np.float32]:
        idf = np.log((self.doc_count - containing + 0.5) / (containing + 0.5) + 1.0)
        norm = self.k1 * (1.0 - self.b + self.b * self._doc_lengths[self._documents] / (self.avgdl or 1.0))
        weights: NDArray[np.float32] = (idf * frequencies * (self.k1 + 1.0) / (frequencies + norm)).astype(np.float32)
        return weights

    def search(
        self, query_sparse_vectors: Sequence[Sparse], top_k: int, valid_mask: NDArray[np.bool_] | None = None
    ) -> tuple[Any, Any]:
        """(local ids, -score), each of shape (queries, top_k), padded with -1 and infinity."""
        mask = validate_mask(valid_mask, len(self._doc_lengths))
        ids, distances = empty_results(len(query_sparse_vectors), top_k)
        for position, query in enumerate(query_sparse_vectors):
            scores = self._score(query)
            if mask is not None:
                scores[~mask] = 0.0
            found = np.flatnonzero(scores > 0.0)
            if len(found) > top_k:
                found = found[np.argpartition(-scores[found], top_k - 1)[:top_k]] if top_k else found[:0]
            best = found[np.lexsort((found, -scores[found]))]
            ids[position, : len(best)] = best
            distances[position, : len(best)] = -scores[best]
        return ids, distances

    def _score(self, query: Sparse) -> NDArray[np.float64]:
        scores = np.zeros(len(self._doc_lengths))
        for term, weight in query.items():
            at = int(np.searchsorted(self._terms, term))
            if at < len(self._terms) and self._terms[at] == term and math.isfinite(weight):
                span = slice(self._starts[at], self._starts[at + 1])
                scores[self._documents[span]] += weight * self._weights[span]
        return scores

    def save(self, path: str) -> None:
        """Lite builds sparse indexes in memory and writes none."""
        raise NotImplementedError(path)


def install() -> None:
    """Have Lite build this scorer from now on, in this process."""
    sparse_factory.SparseInvertedIndex = ArrayBm25
