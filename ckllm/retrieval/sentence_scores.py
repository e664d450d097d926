"""How well does each sentence of a passage answer the question? Cosines of sentence vectors, computed when asked for and
remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Embedder, Vectors

Splitter = Callable[[str, str], Sequence[tuple[int, int]]]
"""(text, language) → spans of its sentences."""

REMEMBERED = 4096
"""Passages whose sentence vectors are kept: about 40 MB at 6 sentences of 384 numbers."""
MOST_SENTENCES = 24
"""Of one passage; a passage of 256 tokens rarely has more."""
LEAST_CHARACTERS = 12
"""Shorter pieces (headings' numbers, "Yes.") are never scored by themselves."""


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A sentence of a passage: offsets into the document's text, cosine with the question."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class _Sentences:
    spans: tuple[tuple[int, int], ...]
    vectors: Vectors


class SentenceScorer:
    """Scores the sentences of passages against query vectors. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, split: Splitter) -> None:
        self._embedder = embedder
        self._split = split
        self._known: OrderedDict[tuple[str, int, int], _Sentences] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, hits: Sequence[Hit]) -> None:
        """Compute what is missing for all these hits in one batch."""
        self._sentences(list({hit.chunk_id: hit for hit in hits}.values()))

    def score(self, vector: Vectors, hits: Sequence[Hit]) -> list[list[ScoredSpan]]:
        """For each hit its sentences in text order; `vector` has shape (1, dimension). Never empty for a hit with text."""
        return [
            [
                ScoredSpan(hit.start + start, hit.start + end, float(value))
                for (start, end), value in zip(known.spans, known.vectors @ vector[0], strict=True)
            ]
            for hit, known in zip(hits, self._sentences(hits), strict=True)
        ]

    def _sentences(self, hits: Sequence[Hit]) -> list[_Sentences]:
        keys = [(hit.chunk_id, hit.start, hit.end) for hit in hits]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: hit for key, hit in zip(keys, hits, strict=True) if key not in found}
        found |= self._computed(missing)
        with self._lock:
            for key in keys:
                self._known[key] = found[key]
                self._known.move_to_end(key)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return [found[key] for key in keys]

    def _computed(self, hits: dict[tuple[str, int, int], Hit]) -> dict[tuple[str, int, int], _Sentences]:
        """Vectors for the sentences of all passages in one batch."""
        spans = {key: self._spans(hit) for key, hit in hits.items()}
        texts = [hits[key].text[start:end] for key, pieces in spans.items() for start, end in pieces]
        vectors = self._embedder.embed(texts, "passage")
        ends = np.cumsum([len(pieces) for pieces in spans.values()]).tolist()
        return {
            key: _Sentences(pieces, vectors[end - len(pieces) : end])
            for (key, pieces), end in zip(spans.items(), ends, strict=True)
        }

    def _spans(self, hit: Hit) -> tuple[tuple[int, int], ...]:
        spans = [(start, end) for start, end in self._split(hit.text, hit.lang) if end - start >= LEAST_CHARACTERS]
        return tuple(spans[:MOST_SENTENCES]) or ((0, len(hit.text)),)
