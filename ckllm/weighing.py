"""How much each sentence of the evidence answers the question, by either of two ways of telling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ckllm.asking import Found
from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.quoting import joined_quotes, read_quotes, scored_quotes
from ckllm.citations.short_answer import Located
from ckllm.contracts import Evidence, Quote
from ckllm.reader.base import Reader
from ckllm.reader.evidence import ReadEvidence, SentenceReading
from ckllm.retrieval.sentence_scores import SentenceScorer

COMPARED = 10
"""Sentences that the reader likes best, whose cosine with the question is looked at."""
NEAREST = 3
"""Of these, among which the nearest says how close the evidence is."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The evidence, sentence by sentence."""

    evidence: Sequence[Evidence]
    index: EvidenceIndex
    scored: Sequence[tuple[float, Quote]]
    """Every sentence with its score, best first; comparable within one question."""
    best_cosine: float
    """Of the question and its nearest sentence; 0 without sentences."""
    read: ReadEvidence | None = None
    """What the reader makes of it; None where there is no reader."""

    @property
    def best(self) -> SentenceReading | None:
        """The best sentence as the reader sees it; None without sentences, or without a reader."""
        return self.read.sentence(self.scored[0][1]) if self.read and self.scored else None

    def words(self) -> Located | None:
        """The words that the reader takes for the answer, in the sentence that is best; None where it sees none."""
        if self.best is None or self.best.margin <= 0:
            return None
        quote = self.scored[0][1]
        return Located(quote, self.best.start - quote.start, self.best.end - quote.start)


class Weigher(Protocol):
    def weigh(self, found: Found, evidence: Sequence[Evidence], /) -> Weighed: ...


class CosineWeigher:
    """By cosines of sentence vectors, and by words."""

    def __init__(self, scorer: SentenceScorer) -> None:
        self._scorer = scorer

    def weigh(self, found: Found, evidence: Sequence[Evidence]) -> Weighed:
        assert found.vector is not None
        index = EvidenceIndex(evidence)
        scored = self._scorer.score(found.vector, [entry.hit for entry in evidence])
        cosines = {
            (entry.marker, span.start, span.end): span.score
            for entry, spans in zip(evidence, scored, strict=True)
            for span in spans
            if index.usable(entry.marker, span.start, span.end)
        }
        return Weighed(evidence, index, scored_quotes(found.query, index, cosines), max(cosines.values(), default=0.0))


class ReadingWeigher:
    """By a reader, which sees question and passage together; only the sentences that it likes best are embedded."""

    def __init__(self, scorer: SentenceScorer, reader: Reader) -> None:
        self._scorer = scorer
        self._reader = reader

    def weigh(self, found: Found, evidence: Sequence[Evidence]) -> Weighed:
        assert found.vector is not None
        index = EvidenceIndex(evidence)
        read = ReadEvidence(self._reader, found.query, found.hits, evidence)
        scored = read_quotes(found.query, index, read)
        cosines = self._cosines(found, evidence, [quote for _, quote in scored[:COMPARED]])
        words = any(read.sentence(quote).margin > 0 for _, quote in scored)
        nearest = [cosines[quote.marker, quote.start, quote.end] for _, quote in scored[:NEAREST]]
        joined = joined_quotes(found.query, index, scored, cosines, words)
        return Weighed(evidence, index, joined, max(nearest, default=0.0), read)

    def _cosines(self, found: Found, evidence: Sequence[Evidence], quotes: Sequence[Quote]) -> dict[tuple[int, int, int], float]:
        """By (marker, start, end)."""
        assert found.vector is not None
        hits = {entry.marker: entry.hit for entry in evidence}
        spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for quote in quotes:
            spans[quote.marker].append((quote.start, quote.end))
        values = self._scorer.score_spans(found.vector, [(hits[marker], places) for marker, places in spans.items()])
        return {
            (marker, *place): value
            for (marker, places), some in zip(spans.items(), values, strict=True)
            for place, value in zip(places, some, strict=True)
        }
