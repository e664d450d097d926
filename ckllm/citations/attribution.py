"""Which words of the evidence does a sentence of an answer rest on?

Each sentence of the answer is aligned with the sentences of the evidence: the one that covers most of its content words,
weighted by how rare they are in the evidence (inverse document frequency, Spärck Jones 1972), and, where a part stays
uncovered, one or two more that add to it. What the model wrote as markers plays no part. The result is exact spans; whether
they support the sentence is for :mod:`ckllm.citations.verification` to say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckllm.citations.sentences import Span, split_sentences
from ckllm.citations.terms import content_keys
from ckllm.contracts import Evidence, Quote

MOST_QUOTES = 2
"""Spans that one sentence may rest on: with more, unrelated words could be gathered from everywhere."""
LEAST_GAIN = 0.15
"""Share of a sentence's weight that a further span must add."""


@dataclass(frozen=True, slots=True)
class EvidenceSentence:
    """A sentence of a passage, as a quote of it, with the keys of its content words."""

    quote: Quote
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Attribution:
    """A sentence's best spans in the evidence, best first, and the weighted share of its content words that they hold."""

    quotes: tuple[Quote, ...]
    coverage: float


class EvidenceIndex:
    """The sentences of the evidence, split once for all sentences of an answer."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self.sentences: tuple[EvidenceSentence, ...] = tuple(
            EvidenceSentence(quote, frozenset(content_keys(quote.text))) for entry in evidence for quote in quotes_of(entry)
        )
        counts = Counter(key for sentence in self.sentences for key in sentence.keys)
        total = len(self.sentences)
        self._idf: Mapping[str, float] = {key: math.log(1 + (total - n + 0.5) / (n + 0.5)) for key, n in counts.items()}
        self._unseen = math.log(1 + (total + 0.5) / 0.5)

    def weight(self, keys: frozenset[str]) -> float:
        """Summed idf of `keys`; words that the evidence lacks weigh most."""
        return sum(self._idf.get(key, self._unseen) for key in keys)

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
        """The spans of the evidence that hold most of `sentence`; no spans where nothing is shared."""
        wanted = frozenset(content_keys(sentence))
        whole = self.weight(wanted)
        chosen: list[Quote] = []
        missing = wanted
        while whole and missing and len(chosen) < MOST_QUOTES:
            best = max(self.sentences, key=lambda entry: (self.weight(missing & entry.keys), -len(entry.keys)), default=None)
            gain = self.weight(missing & best.keys) / whole if best else 0.0
            if best is None or gain < (LEAST_GAIN if chosen else 1e-9):
                break
            chosen.append(best.quote)
            missing = missing - best.keys
        return Attribution(tuple(chosen), 1 - self.weight(missing) / whole if whole else 0.0)


def quotes_of(entry: Evidence) -> list[Quote]:
    """The sentences of one passage as quotes, with spans in the document's text."""
    hit = entry.hit
    spans: list[Span] = split_sentences(hit.text, hit.lang)
    return [Quote(entry.marker, hit.start + span.start, hit.start + span.end, span.text) for span in spans]
