"""Which sentences of the evidence answer the question best: what is quoted where no generated sentence holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.terms import content_keys
from ckllm.contracts import Quote

COVERAGE_WEIGHT = 0.3
"""Beside the cosine's range among the candidates, which counts 1."""
CLOSE_SECOND = 0.97
"""A second sentence is quoted too where it scores at least this share of the best."""
LONGEST_QUOTE = 600
"""Characters; a longer piece is no sentence but a table or a listing, and another one is taken where there is one."""


def best_quotes(question: str, index: EvidenceIndex, cosines: Mapping[tuple[int, int, int], float], most: int = 1) -> list[Quote]:
    """The best `most` sentences for the question, best first; `cosines` by (marker, start, end)."""
    return [quote for _, quote in scored_quotes(question, index, cosines)[:most]]


def scored_quotes(
    question: str, index: EvidenceIndex, cosines: Mapping[tuple[int, int, int], float]
) -> list[tuple[float, Quote]]:
    """Every sentence of the evidence with its score for the question, best first; ties go to the better passage."""
    wanted = frozenset(content_keys(question))
    whole = index.weight(wanted) or 1.0
    known = [cosines[key] for key in map(_place, (s.quote for s in index.sentences)) if key in cosines]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    scored = []
    for sentence in index.sentences:
        cosine = cosines.get(_place(sentence.quote), low)
        score = (cosine - low) / (high - low or 1.0) + COVERAGE_WEIGHT * index.weight(wanted & sentence.keys) / whole
        if len(sentence.quote.text) > LONGEST_QUOTE or not sentence.keys - wanted:
            score -= 1.0
        scored.append((score, sentence.quote))
    return sorted(scored, key=lambda pair: (-pair[0], pair[1].marker, pair[1].start))


def _place(quote: Quote) -> tuple[int, int, int]:
    return quote.marker, quote.start, quote.end


def shown(quotes: Sequence[Quote]) -> list[Quote]:
    """In the order in which they stand in the documents."""
    return sorted(quotes, key=_place)
