"""How well does each sentence of a passage answer the question? Cosines of sentence vectors, computed when asked for and
remembered."""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Embedder, Vectors

Splitter = Callable[[str, str], Sequence[tuple[int, int]]]
"""(text, language) → spans of its sentences."""
Words = Callable[[str], Sequence[str]]
"""Text → keys of its content words."""

REMEMBERED = 20_000
"""Sentences whose vectors are kept: about 35 MB at 384 numbers, with their texts."""
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


class SentenceScorer:
    """Scores the sentences of passages against query vectors. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, split: Splitter, words: Words) -> None:
        self._embedder = embedder
        self._split = split
        self._words = words
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        """By the sentence itself: nothing else decides its vector."""
        self._lock = threading.Lock()

    def score(self, vector: Vectors, hits: Sequence[Hit]) -> list[list[ScoredSpan]]:
        """For each hit its sentences in text order; `vector` has shape (1, dimension). Never empty for a hit with text."""
        spans = [self._spans(hit) for hit in hits]
        vectors = self._vectors([(hit, pieces) for hit, pieces in zip(hits, spans, strict=True)])
        return [
            [
                ScoredSpan(hit.start + start, hit.start + end, float(value))
                for (start, end), value in zip(pieces, found, strict=True)
            ]
            for hit, pieces, found in zip(hits, spans, (one @ vector[0] for one in vectors), strict=True)
        ]

    def score_spans(self, vector: Vectors, wanted: Sequence[tuple[Hit, Sequence[tuple[int, int]]]]) -> list[list[float]]:
        """For each passage the cosines of the given spans, which are offsets into its document's text."""
        places = [(hit, [(start - hit.start, end - hit.start) for start, end in spans]) for hit, spans in wanted]
        return [(found @ vector[0]).tolist() for found in self._vectors(places)]

    def best(
        self, queries: Sequence[str], vectors: Vectors, candidates: Sequence[Sequence[Hit]], most: int
    ) -> list[dict[str, float]]:
        """For each query the cosine of each hit's best sentence, by chunk id.

        Only the `most` sentences of a passage that share most with the query are looked at (words weighted by how rare they are
        among the query's candidates), all of them where none shares a word, as across languages. All are embedded in one batch.
        """
        chosen = [self._promising(query, hits, most) for query, hits in zip(queries, candidates, strict=True)]
        self._vectors([pair for pairs in chosen for pair in pairs])
        return [
            {hit.chunk_id: float((found @ vectors[n]).max()) for (hit, _), found in zip(pairs, self._vectors(pairs), strict=True)}
            for n, pairs in enumerate(chosen)
        ]

    def _promising(self, query: str, hits: Sequence[Hit], most: int) -> list[tuple[Hit, tuple[tuple[int, int], ...]]]:
        wanted = set(self._words(query))
        passages = [
            (hit, [(span, wanted.intersection(self._words(hit.text[span[0] : span[1]]))) for span in self._spans(hit)])
            for hit in hits
        ]
        counts = Counter(key for _, sentences in passages for _, shared in sentences for key in shared)
        total = sum(len(sentences) for _, sentences in passages)
        rarity = {key: math.log(1 + (total - n + 0.5) / (n + 0.5)) for key, n in counts.items()}
        chosen = []
        for hit, sentences in passages:
            ranked = sorted(sentences, key=lambda pair: -sum(rarity[key] for key in pair[1]))
            kept = ranked[:most] if any(shared for _, shared in ranked) else ranked
            chosen.append((hit, tuple(span for span, _ in kept)))
        return chosen

    def _vectors(self, wanted: Sequence[tuple[Hit, Sequence[tuple[int, int]]]]) -> list[Vectors]:
        """Shape (spans, dimension) for each passage; what is not known is embedded in one batch."""
        sentences = [[hit.text[start:end] for start, end in spans] for hit, spans in wanted]
        texts = dict.fromkeys(text for some in sentences for text in some)
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in texts if text not in found]
        if missing:
            found |= dict(zip(missing, self._embedder.embed(missing, "passage"), strict=True))
        with self._lock:
            for text in texts:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return [np.stack([found[text] for text in some]) for some in sentences]

    def _spans(self, hit: Hit) -> tuple[tuple[int, int], ...]:
        spans = [(start, end) for start, end in self._split(hit.text, hit.lang) if end - start >= LEAST_CHARACTERS]
        return tuple(spans[:MOST_SENTENCES]) or ((0, len(hit.text)),)
