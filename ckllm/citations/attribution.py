"""Which words of the evidence does a sentence of an answer rest on?

Each sentence of the answer is aligned with the sentences of the evidence: the one that covers most of its content words,
weighted by how rare they are in the evidence (inverse document frequency, Spärck Jones 1972). What the model wrote as markers
plays no part. The result is an exact span; whether it supports the sentence is for :mod:`ckllm.citations.verification` to say.

One span a sentence, on purpose: over two, a small model's mixture of facts ("invented by A in 1801", where A invented something
else) finds all its words somewhere. A sentence that truly joins two spans is lost, and what it says is quoted instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckllm.citations.orders import order_spans
from ckllm.citations.sentences import Span, split_sentences
from ckllm.citations.terms import content_keys
from ckllm.contracts import Evidence, Hit, Quote

HEADING_MARKS = "#=*_~ \t\n"


@dataclass(frozen=True, slots=True)
class EvidenceSentence:
    """A sentence of a passage, as a quote of it, with the keys of its content words."""

    quote: Quote
    keys: frozenset[str]
    heading: bool = False
    """Whether it is the title or a heading: it names what is asked and does not answer it."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The spans that a sentence rests on, and the weighted share of its content words that they hold."""

    quotes: tuple[Quote, ...]
    coverage: float


class EvidenceIndex:
    """The sentences of the evidence, split once for all sentences of an answer; without those that speak to the model."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._orders = {entry.marker: orders_in(entry.hit) for entry in evidence}
        self.sentences: tuple[EvidenceSentence, ...] = tuple(
            EvidenceSentence(quote, frozenset(content_keys(quote.text)), is_heading(quote.text, entry.hit))
            for entry in evidence
            for quote in quotes_of(entry)
            if self.usable(quote.marker, quote.start, quote.end)
        )
        counts = Counter(key for sentence in self.sentences for key in sentence.keys)
        total = len(self.sentences)
        self._idf: Mapping[str, float] = {key: math.log(1 + (total - n + 0.5) / (n + 0.5)) for key, n in counts.items()}
        self._unseen = math.log(1 + (total + 0.5) / 0.5)

    def usable(self, marker: int, start: int, end: int) -> bool:
        """Whether a span of a passage holds nothing that speaks to the model."""
        return not any(first < end and start < last for first, last in self._orders[marker])

    def weight(self, keys: frozenset[str]) -> float:
        """Summed idf of `keys`; words that the evidence lacks weigh most. Exact, so that ties do not hang on a set's order."""
        return math.fsum(self._idf.get(key, self._unseen) for key in keys)

    def coverage(self, text: str) -> float:
        """Weighted share of the content words of `text` that stand anywhere in the evidence, 0 to 1."""
        keys = frozenset(content_keys(text))
        return self.weight(keys & frozenset(self._idf)) / self.weight(keys) if keys else 0.0

    def coverage_in_one(self, text: str) -> float:
        """The same share for the one sentence of the evidence that holds most of it."""
        keys = frozenset(content_keys(text))
        most = max((self.weight(keys & sentence.keys) for sentence in self.sentences), default=0.0)
        return most / self.weight(keys) if keys else 0.0

    def attribute(self, sentence: str) -> Attribution:
        """The span of the evidence that holds most of `sentence`, the shortest of equals; no span where nothing is shared."""
        wanted = frozenset(content_keys(sentence))
        best = max(self.sentences, key=lambda entry: (self.weight(wanted & entry.keys), -len(entry.keys)), default=None)
        if best is None or not wanted & best.keys:
            return Attribution((), 0.0)
        return Attribution((best.quote,), self.weight(wanted & best.keys) / self.weight(wanted))


def quotes_of(entry: Evidence) -> list[Quote]:
    """The sentences of one passage as quotes, with spans in the document's text."""
    hit = entry.hit
    spans: list[Span] = split_sentences(hit.text, hit.lang)
    return [Quote(entry.marker, hit.start + span.start, hit.start + span.end, span.text) for span in spans]


def orders_in(hit: Hit) -> list[tuple[int, int]]:
    """Spans of the document's text in a passage that speak to the model."""
    return [(hit.start + start, hit.start + end) for start, end in order_spans(hit.text)]


def is_heading(text: str, hit: Hit) -> bool:
    """Whether a sentence of a passage is one of the headings above it, with or without its mark-up."""
    bare = text.strip(HEADING_MARKS).casefold()
    return bare in {part.strip(HEADING_MARKS).casefold() for part in (hit.title, *hit.section.split(" › "))}
