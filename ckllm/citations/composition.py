"""From checked sentences to the answer that is shown: our own markers, numbered by first use, and exact citations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckllm.cells import readable
from ckllm.citations.markers import without_brackets
from ckllm.contracts import Box, Citation, Evidence, Hit, Quote, Sentence

Boxes = Callable[[str, int, int], tuple[Box, ...]]
"""(version id, start, end) → the rectangles of that span on its pages."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence with the spans that it rests on and what verification said of it."""

    text: str
    quotes: tuple[Quote, ...]
    supported: bool
    support: float


@dataclass(frozen=True, slots=True)
class Composition:
    """`answer[s.start:s.end] == s.text` for every sentence; every marker in `answer` has its citation."""

    answer: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    evidence: tuple[Evidence, ...]
    """The ledger, with what was cited marked so."""


def compose(claims: Sequence[Claim], evidence: Sequence[Evidence], boxes: Boxes, between: str = " ") -> Composition:
    """Join the claims in order, each followed by the markers of its quotes. Equal spans share one marker."""
    passages = {entry.marker: entry.hit for entry in evidence}
    numbers: dict[tuple[str, int, int], int] = {}
    citations: list[Citation] = []
    sentences: list[Sentence] = []
    answer = ""
    for claim in claims:
        text = without_brackets(readable(claim.text))
        if not text:
            continue
        used: list[int] = []
        for quote in claim.quotes:
            hit = passages[quote.marker]
            span = (hit.document_id, quote.start, quote.end)
            if span not in numbers:
                numbers[span] = len(numbers) + 1
                citations.append(_citation(numbers[span], quote, hit, boxes))
            if numbers[span] not in used:
                used.append(numbers[span])
        start = len(answer) + (len(between) if answer else 0)
        answer += (between if answer else "") + text + "".join(f" [{number}]" for number in used)
        sentences.append(Sentence(text, start, start + len(text), claim.supported, claim.support, tuple(used)))
    cited = {(citation.document_id, citation.chunk_id) for citation in citations}
    ledger = tuple(
        Evidence(entry.marker, entry.hit, entry.in_prompt, (entry.hit.document_id, entry.hit.chunk_id) in cited)
        for entry in evidence
    )
    return Composition(answer, tuple(sentences), tuple(citations), ledger)


def _citation(marker: int, quote: Quote, hit: Hit, boxes: Boxes) -> Citation:
    found = boxes(hit.version_id, quote.start, quote.end)
    page = found[0].page if found else hit.page
    return Citation(
        marker, hit.source, hit.title, page, hit.section, quote.start, quote.end, quote.text, hit.document_id, hit.chunk_id, found
    )
