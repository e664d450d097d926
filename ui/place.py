"""A passage that stands open beside the answer."""

from __future__ import annotations

from dataclasses import dataclass

from ckllm.contracts import Answer, Box, Citation, Evidence


@dataclass(frozen=True, slots=True)
class Place:
    """A span of a document. Offsets count code points of the document's text."""

    document_id: str
    title: str
    source: str
    section: str
    page: int | None
    start: int
    end: int
    boxes: tuple[Box, ...] = ()
    turn: str = ""
    """Key of the turn that it was opened from; "" for none."""
    marker: int = 0
    """Its number in that turn's answer."""

    @classmethod
    def of_citation(cls, citation: Citation, turn: str) -> Place:
        return cls(
            citation.document_id, citation.title, citation.source, citation.section, citation.page, citation.start, citation.end,
            citation.boxes, turn, citation.marker,
        )  # fmt: skip

    @classmethod
    def of_evidence(cls, entry: Evidence, turn: str) -> Place:
        hit = entry.hit
        return cls(hit.document_id, hit.title, hit.source, hit.section, hit.page, hit.start, hit.end, (), turn, entry.marker)

    @classmethod
    def among(cls, answer: Answer, number: int, turn: str, opened: Place | None) -> Place | None:
        """What a click on a number opens; None where that stands open already, so that a second click closes it."""
        if opened is not None and (opened.turn, opened.marker) == (turn, number):
            return None
        for citation in answer.citations:
            if citation.marker == number:
                return cls.of_citation(citation, turn)
        return next((cls.of_evidence(entry, turn) for entry in answer.evidence if entry.marker == number), opened)
