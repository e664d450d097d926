"""Which sentences of the evidence answer the question best: what is quoted where no generated sentence holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ckllm.citations.attribution import EvidenceIndex, EvidenceSentence
from ckllm.citations.terms import content_keys
from ckllm.contracts import Quote
from ckllm.reader.evidence import ReadEvidence

COVERAGE_WEIGHT = 0.3
"""Beside the cosine's range among the candidates, which counts 1."""
MOST_ANSWERING = 4
MOST_QUOTED = 3
CLOSE = 0.7
"""Share of the best sentence's score from which others of its passage are quoted too. On 60 questions that want more than words,
with a reader: one sentence is right in 0.73 and finds 0.38 of the evidence, up to two 0.67 and 0.42, up to three 0.68 and 0.46.
"""
LEAST_SHARE = 0.5
"""Of the best sentence's score, that another must have to count as an answer too."""
MARGIN_SCALE = 3.0
"""Logits of the reader's margin that are one step of its share in a sentence's score."""
CLOSENESS_BESIDE_WORDS, CLOSENESS_ALONE = 0.3, 1.5
"""Weight of a sentence's cosine, as its place between the lowest and the highest looked at, beside the reader's score: where the
reader finds the words of an answer, and where it finds none (measured: docs/decisions.md)."""
LONGEST_QUOTE = 600
"""Characters; a longer piece is no sentence but a table or a listing, and another one is taken where there is one."""


def quoted_instead(scored: Sequence[tuple[float, Quote]]) -> list[Quote]:
    """What is quoted where no draft holds: the best of `scored_quotes`, and those of its passage that come close to it."""
    best = [
        quote for score, quote in scored[:MOST_ANSWERING] if quote.marker == scored[0][1].marker and score >= CLOSE * scored[0][0]
    ]
    return sorted(best[:MOST_QUOTED], key=lambda quote: quote.start)


def answering_quotes(scored: Sequence[tuple[float, Quote]]) -> list[Quote]:
    """Those of `scored_quotes` that may answer the question, best first.

    The first is what is quoted; a drafted sentence has to rest on one of them.
    """
    return [quote for score, quote in scored[:MOST_ANSWERING] if score >= LEAST_SHARE * scored[0][0]]


def scored_quotes(
    question: str, index: EvidenceIndex, cosines: Mapping[tuple[int, int, int], float]
) -> list[tuple[float, Quote]]:
    """Every sentence of the evidence with its score for the question, best first; ties go to the better passage."""
    wanted = frozenset(content_keys(question))
    whole = index.weight(wanted) or 1.0
    known = [cosines[key] for key in map(_place, (s.quote for s in index.sentences)) if key in cosines]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)

    def score(sentence: EvidenceSentence) -> float:
        cosine = cosines.get(_place(sentence.quote), low)
        return (cosine - low) / (high - low or 1.0) + COVERAGE_WEIGHT * index.weight(wanted & sentence.keys) / whole

    return _ranked(question, index, score)


def read_quotes(question: str, index: EvidenceIndex, read: ReadEvidence) -> list[tuple[float, Quote]]:
    """The same as the reader alone sees it: near 2 where a sentence surely holds the answer, near 0 where it does not."""

    def score(sentence: EvidenceSentence) -> float:
        seen = read.sentence(sentence.quote)
        return seen.bearing + 1 / (1 + math.exp(-seen.margin / MARGIN_SCALE))

    return _ranked(question, index, score)


def joined_quotes(
    question: str, index: EvidenceIndex, read: Sequence[tuple[float, Quote]], cosines: Mapping[tuple[int, int, int], float],
    words: bool,
) -> list[tuple[float, Quote]]:  # fmt: skip
    """`read_quotes` and the closeness of those of them that have a cosine, together; these first.

    Where the reader finds no words for an answer (not `words`), the question may want more than words, and closeness decides.
    What only names the question's subject is always close to it, which tells nothing.
    """
    wanted = frozenset(content_keys(question))
    whole = index.weight(wanted) or 1.0
    keys = {_place(one.quote): frozenset() if _only_names(one, wanted) else one.keys for one in index.sentences}
    low, high = (min(cosines.values()), max(cosines.values())) if cosines else (0.0, 1.0)
    weight = CLOSENESS_BESIDE_WORDS if words else CLOSENESS_ALONE
    near = [
        (
            score
            + (weight * (cosines[place] - low) / (high - low or 1.0) if keys[place] else 0.0)
            + COVERAGE_WEIGHT * index.weight(wanted & keys[place]) / whole,
            quote,
        )
        for score, quote in read
        if (place := _place(quote)) in cosines
    ]
    return [*sorted(near, key=_order), *(pair for pair in read if _place(pair[1]) not in cosines)]


def _ranked(question: str, index: EvidenceIndex, score: Callable[[EvidenceSentence], float]) -> list[tuple[float, Quote]]:
    wanted = frozenset(content_keys(question))
    scored = [
        (
            score(one) - (1.0 if len(one.quote.text) > LONGEST_QUOTE or _only_names(one, wanted) else 0.0),
            one.quote,
        )
        for one in index.sentences
    ]
    return sorted(scored, key=_order)


def _only_names(one: EvidenceSentence, wanted: frozenset[str]) -> bool:
    """Whether it is a heading, or has no word beyond the question's."""
    return one.heading or not one.keys - wanted


def _order(pair: tuple[float, Quote]) -> tuple[float, int, int]:
    return -pair[0], pair[1].marker, pair[1].start


def _place(quote: Quote) -> tuple[int, int, int]:
    return quote.marker, quote.start, quote.end
