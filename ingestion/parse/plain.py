"""Plain text: the file's own text; paragraphs are what blank lines separate."""

from __future__ import annotations

import re
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder

_PARAGRAPH = re.compile(r"(?:[^\n]*\S[^\n]*(?:\n|$))+")
_BULLET = re.compile(r"\s*(?:[-*+•▪‣◦·–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder.over(decode(source.path.read_bytes())[0], media_type)
    mark_paragraphs(builder, 0, len(builder.raw))
    return builder.build("", source)


def mark_paragraphs(builder: TextBuilder, start: int, end: int) -> None:
    """Mark the paragraphs and list items of [start:end] of the raw text."""
    for match in _PARAGRAPH.finditer(builder.raw, start, end):
        is_item = bool(_BULLET.match(match[0]))
        builder.mark(ElementKind.LIST_ITEM if is_item else ElementKind.PARAGRAPH, match.start(), match.end())
