"""BM25 over arrays, for Milvus Lite: the same formula as Lite's own scorer, many times as fast, and one set of word statistics.

Lite 3.2 keeps a posting list as a list of tuples, scores it tuple by tuple, and gives every segment statistics of its own, so
that the same document scores differently in a small and in a large segment. Here a segment's postings are arrays, and the
statistics are those of all segments together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sparse = Mapping[int, float]
"""Term id → frequency."""

_PAIR = np.dtype([("term", "<u4"), ("frequency", "<f4")])
"""How Milvus packs a sparse vector: pairs in ascending order of terms."""


@dataclass(frozen=True, slots=True)
class Postings:
    """One segment's: the documents of `terms[i]` are `documents[starts[i] : starts[i + 1]]`, `frequencies` likewise."""

    terms: NDArray[np.uint32]
    starts: NDArray[np.int64]
    documents: NDArray[np.int64]
    frequencies: NDArray[np.float32]
    lengths: NDArray[np.float32]
    """Words of each document, shape (documents,)."""

    @classmethod
    def of(cls, packed: Sequence[bytes | None]) -> Postings:
        """From packed sparse vectors, one a document; None and b"" have no words."""
        rows = [row or b"" for row in packed]
        pairs = np.frombuffer(b"".join(rows), _PAIR)
        sizes = np.fromiter(map(len, rows), np.int64, len(rows)) // _PAIR.itemsize
        documents = np.repeat(np.arange(len(rows)), sizes)
        lengths = np.bincount(documents, weights=pairs["frequency"], minlength=len(rows)).astype(np.float32)
        order = np.argsort(pairs["term"], kind="stable")
        terms, first = np.unique(pairs["term"][order], return_index=True)
        starts = np.append(first, len(pairs)).astype(np.int64)
        return cls(terms, starts, documents[order], np.ascontiguousarray(pairs["frequency"][order]), lengths)

    def span(self, term: int) -> slice:
        """Where the term's documents stand; an empty slice for one that no document has."""
        at = int(np.searchsorted(self.terms, term))
        if at == len(self.terms) or self.terms[at] != term:
            return slice(0, 0)
        return slice(int(self.starts[at]), int(self.starts[at + 1]))


@dataclass(frozen=True, slots=True)
class Bm25:
    """Robertson and Zaragoza, "The probabilistic relevance framework" (2009), with the IDF of Lucene, over several segments."""

    segments: Sequence[Postings]
    k1: float
    b: float

    @classmethod
    def with_parameters(cls, segments: Sequence[Postings], parameters: Mapping[str, Any]) -> Bm25:
        """`parameters` of the index, as Milvus names them, with its defaults."""
        return cls(segments, float(parameters.get("bm25_k1", 1.5)), float(parameters.get("bm25_b", 0.75)))

    def scores(self, query: Sparse) -> list[NDArray[np.float64]]:
        """The score of every document, an array for each segment; 0 for one that shares no word with the query."""
        count = sum(len(segment.lengths) for segment in self.segments)
        words = sum(float(segment.lengths.sum()) for segment in self.segments)
        mean = words / count if words else 1.0
        totals = [np.zeros(len(segment.lengths)) for segment in self.segments]
        for term, weight in query.items():
            if not math.isfinite(weight):
                continue
            spans = [segment.span(term) for segment in self.segments]
            containing = sum(span.stop - span.start for span in spans)
            idf = math.log((count - containing + 0.5) / (containing + 0.5) + 1.0)
            for segment, span, total in zip(self.segments, spans, totals, strict=True):
                documents, frequencies = segment.documents[span], segment.frequencies[span]
                norm = self.k1 * (1.0 - self.b + self.b * segment.lengths[documents] / mean)
                total[documents] += weight * idf * frequencies * (self.k1 + 1.0) / (frequencies + norm)
        return totals
