"""What the reader makes of the sentences of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckllm.contracts import Evidence, Hit, Quote
from ckllm.reader.base import UNREAD, Reader, read_until_sure


@dataclass(frozen=True, slots=True)
class SentenceReading:
    margin: float
    """Of the best words in the sentence over "this passage does not answer", in logits."""
    bearing: float
    """Probability that the sentence bears on the question."""
    start: int
    end: int
    """These words, as offsets into the document's text."""


class ReadEvidence:
    """Readings of passages, asked sentence by sentence; what stands in a passage that was not read bears on nothing. A passage
    that was narrowed for the prompt is read as it was found.
    """

    def __init__(self, reader: Reader, question: str, hits: Sequence[Hit], evidence: Sequence[Evidence]) -> None:
        """`hits`: the passages as they were found, among them those of `evidence`."""
        whole = {hit.chunk_id: hit for hit in hits}
        passages = [whole.get(entry.hit.chunk_id, entry.hit) for entry in evidence]
        readings = read_until_sure(reader, question, passages)
        self._passages = {
            entry.marker: (hit.start, reading) for entry, hit, reading in zip(evidence, passages, readings, strict=False)
        }

        self._known: dict[tuple[int, int, int], SentenceReading] = {}

    def sentence(self, quote: Quote) -> SentenceReading:
        place = (quote.marker, quote.start, quote.end)
        if place not in self._known:
            self._known[place] = self._of(quote)
        return self._known[place]

    def _of(self, quote: Quote) -> SentenceReading:
        if quote.marker not in self._passages:
            return SentenceReading(UNREAD, 0.0, quote.start, quote.start)
        begin, reading = self._passages[quote.marker]
        start, end = quote.start - begin, quote.end - begin
        margin, first, last = reading.answer(start, end)
        return SentenceReading(margin, reading.bearing(start, end), begin + first, begin + last)
