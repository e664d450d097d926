"""Sentences with their exact offsets, in any script.

Boundaries come from `sentencex` (rules per language for about 240 of them, Indic and CJK among them). Extracted documents
add two things that running text does not have: rows of tables and items of lists, which end at their line break though no full
stop does, and lines that a page broke in the middle of a sentence, which do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import regex

_BREAK = regex.compile(
    r"""
    \n[ \t]*\n                                      # an empty line
    | \n(?=[ \t]*(?:[-*•‣◦▪·–|#>]|\d{1,3}[.)]|[A-Za-z][.)])[ \t])  # the next line is a list item, a table row or a heading
    | (?<=\|[ \t]*)\n                               # this line is a table row
    | (?<=\t[^\n]*)\n | \n(?=[^\n]*\t)              # cells set apart by tabs
    | (?<=[:;])[ \t]*\n                             # a line that announces what follows
    """,
    regex.VERBOSE,
)
_CLOSING = regex.compile(r"(?<=\S)[*_]{1,3}(?=\s|$)")
"""Marks of emphasis that end with what they emphasise: a sentence, or a label before one ("**Note.** The next")."""
_LABEL = 30
"""Characters."""


@dataclass(frozen=True, slots=True)
class Span:
    """`text` is the slice [start:end] of the text that was split; it neither begins nor ends with white space."""

    start: int
    end: int
    text: str


def split_sentences(text: str, lang: str = "") -> list[Span]:
    """The sentences of `text` in order, without overlap; together they hold every character that is not white space.

    `lang` is an ISO 639-1 code; "" and codes that sentencex does not know fall back to its general rules.
    """
    from sentencex import get_sentence_boundaries

    found: list[Span] = []
    for begin, block in blocks(text):
        start = end = 0
        for boundary in get_sentence_boundaries(lang or "en", block):
            place = block.index(boundary["text"], end)
            end = place + len(boundary["text"])
            closing = _CLOSING.match(block, place)
            if not closing or place - start > _LABEL:
                cut = closing.end() if closing else place
                found.extend(_trimmed(text, begin + start, begin + cut))
                start = cut
        found.extend(_trimmed(text, begin + start, begin + len(block)))
    return found


def blocks(text: str) -> list[tuple[int, str]]:
    """Pieces between hard breaks, with their offsets."""
    pieces, start = [], 0
    for match in _BREAK.finditer(text):
        pieces.append((start, text[start : match.start()]))
        start = match.end()
    pieces.append((start, text[start:]))
    return [(begin, block) for begin, block in pieces if block.strip()]


def _trimmed(text: str, start: int, end: int) -> list[Span]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    kept = piece.strip()
    return [Span(start, start + len(kept), kept)] if kept else []
