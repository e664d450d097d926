"""What of the evidence is shown to the model: the sentences that answer best, each with its neighbours.

A small model finds an answer more surely in three sentences than in three passages, and reads them several times faster (figures
in docs/decisions.md). An excerpt is one span of its document, so that what was in the prompt can be said exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckllm.citations.attribution import EvidenceIndex
from ckllm.contracts import Evidence, Hit, Quote

NEIGHBOURS = 1
"""Sentences before and after: what "it" and "then" stand for."""


def excerpts(
    scored: Sequence[tuple[float, Quote]], index: EvidenceIndex, evidence: Sequence[Evidence], most: int
) -> tuple[list[Hit], list[Hit]]:
    """The passages that hold the best `most` sentences, each narrowed to the span of these and their neighbours, and the passages
    that hold none; both in the order of `evidence`. With `most` 0 every passage is shown whole.

    `scored` are the sentences of `index`, best first.
    """
    if not most:
        return [entry.hit for entry in evidence], []
    spans: dict[int, tuple[int, int]] = {}
    for _, quote in scored[:most]:
        sentences = [entry.quote for entry in index.sentences if entry.quote.marker == quote.marker]
        at = sentences.index(quote)
        start, end = sentences[max(0, at - NEIGHBOURS)].start, sentences[min(len(sentences) - 1, at + NEIGHBOURS)].end
        known = spans.get(quote.marker, (start, end))
        spans[quote.marker] = min(start, known[0]), max(end, known[1])
    shown = [_narrowed(entry.hit, *spans[entry.marker]) for entry in evidence if entry.marker in spans]
    return shown, [entry.hit for entry in evidence if entry.marker not in spans]


def _narrowed(hit: Hit, start: int, end: int) -> Hit:
    return replace(hit, start=start, end=end, text=hit.text[start - hit.start : end - hit.start])
