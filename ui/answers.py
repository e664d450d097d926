"""An answer as the answer component draws it, and as text for the clipboard. Pure: no Streamlit here."""

from __future__ import annotations

import re
from typing import Any

from ckllm.cells import readable
from ckllm.contracts import Answer, Citation, Evidence, Sentence
from ui.markup import name_of, shortened
from ui.place import Place

_MARKER = re.compile(r"[ \t]*\[(\d+)\]")
_NEAREST = 3
"""Passages shown with a refusal."""


def drawn(answer: Answer, opened: Place | None, turn: str) -> dict[str, Any]:
    """What the component is given. `opened`: the passage that stands open, so that its number can be marked."""
    here = opened.marker if opened is not None and opened.turn == turn else 0
    if answer.refused:
        return {
            "refused": True, "reason": answer.reason or "", "open": here, "segments": [], "sources": [], "copy": "",
            "nearest": [_passage(entry) for entry in nearest(answer)],
        }  # fmt: skip
    return {
        "refused": False,
        "quoted": answer.quoted,
        "segments": segments(answer),
        "sources": [_source(citation) for citation in answer.citations],
        "nearest": [],
        "verdict": verdict(answer),
        "whole": all(sentence.supported for sentence in answer.sentences),
        "copy": with_footnotes(answer),
        "open": here,
    }


def segments(answer: Answer) -> list[dict[str, Any]]:
    """The answer's text in order: sentences with their support, markers, and what stands between."""
    found: list[dict[str, Any]] = []
    position = 0
    bold = answer.short_answer or ""
    for sentence in sorted(answer.sentences, key=lambda one: one.start):
        found += _between(answer.answer[position : sentence.start])
        parts, used = _emphasised(sentence.text, bold)
        bold = "" if used else bold
        found.append({"kind": "sentence", "parts": parts, "supported": sentence.supported, "note": _note(sentence, answer)})
        position = sentence.end
    return found + _between(answer.answer[position:])


def verdict(answer: Answer) -> str:
    """One quiet line under the answer."""
    supported, count = sum(sentence.supported for sentence in answer.sentences), len(answer.sentences)
    if answer.computed:
        return f"Computed from the {answer.computed.of} rows of the table"
    if answer.quoted:
        return "; ".join(["Exact words of the source", *answer.warnings])
    if supported == count:
        return "Supported by its source" if count == 1 else f"All {count} sentences supported by their sources"
    return f"{supported} of {count} sentences supported by their sources"


def nearest(answer: Answer) -> tuple[Evidence, ...]:
    return answer.evidence[:_NEAREST]


def where(found: Citation | Evidence) -> str:
    """Page and section, for people; "" where a format has neither."""
    about = found if isinstance(found, Citation) else found.hit
    section = about.section.removeprefix(about.title).removeprefix(" › ")
    return " · ".join(part for part in (f"page {about.page}" if about.page else "", section) if part)


def with_footnotes(answer: Answer) -> str:
    """For the clipboard."""
    notes = [
        f"[{one.marker}] {', '.join(part for part in (one.title or name_of(one.source), where(one)) if part)}: "
        f"“{' '.join(readable(one.quote).split())}” ({one.source})"
        for one in answer.citations
    ]
    return "\n".join([answer.answer, "", *notes]) if notes else answer.answer


def _between(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    position = 0
    for match in _MARKER.finditer(text):
        if text[position : match.start()]:
            found.append({"kind": "text", "text": text[position : match.start()]})
        found.append({"kind": "marker", "n": int(match[1])})
        position = match.end()
    return [*found, {"kind": "text", "text": text[position:]}] if text[position:] else found


def _emphasised(text: str, bold: str) -> tuple[list[dict[str, Any]], bool]:
    start = text.find(bold) if bold else -1
    if start < 0 or bold == text:
        return [{"text": text, "strong": False}], False
    end = start + len(bold)
    parts = [(text[:start], False), (bold, True), (text[end:], False)]
    return [{"text": part, "strong": strong} for part, strong in parts if part], True


def _note(sentence: Sentence, answer: Answer) -> str:
    if not sentence.supported:
        return f"Not supported by the sources ({sentence.support:.0%})"
    if answer.computed:
        return "Computed from the rows that are cited"
    return "Exact words of the source" if answer.quoted else f"Supported by the source ({sentence.support:.0%})"


def _source(citation: Citation) -> dict[str, Any]:
    return {
        "n": citation.marker, "title": citation.title or name_of(citation.source), "where": where(citation),
        "quote": shortened(readable(citation.quote), 240),
    }  # fmt: skip


def _passage(entry: Evidence) -> dict[str, Any]:
    return {
        "n": entry.marker, "title": entry.hit.title or name_of(entry.hit.source), "where": where(entry),
        "text": shortened(readable(entry.hit.text), 180),
    }  # fmt: skip
