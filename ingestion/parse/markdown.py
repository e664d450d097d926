"""Markdown: the file's own text is the document's; markdown-it's line map says what its parts are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import DATA_URI, TextBuilder

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)\n(\1|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_FRONT_TITLE = re.compile(r"^title\s*[:=]\s*(.+)$", re.M)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_KINDS = {
    "heading_open": ElementKind.HEADING,
    "paragraph_open": ElementKind.PARAGRAPH,
    "fence": ElementKind.CODE,
    "code_block": ElementKind.CODE,
    "html_block": ElementKind.PARAGRAPH,
}


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    return parse_text(decode(source.path.read_bytes())[0], source, media_type)


def parse_text(text: str, source: Source, media_type: str) -> Document:
    """Read Markdown text. Front matter gives the title and is no element; HTML comments and pictures in base64 are left out."""
    builder = TextBuilder.over(_outside_code(text, lambda part: DATA_URI.sub("", _COMMENT.sub("", part))), media_type)
    if _outside_code(text, lambda part: _COMMENT.sub("", part)) != text:
        builder.warn("HTML comments, which a reader does not see, were left out")
    title, body = _front_matter(builder.raw)
    _mark(builder, body)
    if builder.empty and body:
        builder.mark(ElementKind.PARAGRAPH, 0, body)
    return builder.build(title, source)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Text that is changed except inside code."""
    parts = re.split(r"(^[ ]{0,3}(?:```|~~~).*?^[ ]{0,3}(?:```|~~~)[ \t]*$|`[^`\n]*`)", text, flags=re.S | re.M)
    return "".join(part if place % 2 else change(part) for place, part in enumerate(parts))


def _front_matter(text: str) -> tuple[str, int]:
    """Title that the front matter gives, and where the body starts."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return "", 0
    title = _FRONT_TITLE.search(found[2])
    return (title[1].strip().strip("\"'") if title else ""), found.end()


def _mark(builder: TextBuilder, body: int) -> None:
    from markdown_it import MarkdownIt

    starts = [body, *(match.end() for match in re.compile("\n").finditer(builder.raw, body)), len(builder.raw) + 1]
    tokens = MarkdownIt("commonmark", {"maxNesting": 100}).enable("table").parse(builder.raw[body:])
    walk = _Walk(builder, starts)
    for token in tokens:
        walk.take(token)
    walk.flush(len(starts) - 1)


class _Walk:
    """Marks block after block, and as plain paragraphs whatever lines no block claims (link definitions, deep nesting)."""

    def __init__(self, builder: TextBuilder, starts: list[int]) -> None:
        self._builder = builder
        self._starts = starts
        self._line = 0
        self._lists = 0
        self._item: int | None = None

    def take(self, token: Token) -> None:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            self._lists += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self._lists -= 1
        elif token.type == "list_item_open" and token.map:
            self._item = token.map[0]
        elif token.map and token.map[0] >= self._line:
            first, last = token.map
            if token.type == "table_open":
                self.flush(first)
                self._builder.mark_table(self._at(first), self._at(last), header_lines=2)
                self._line = last
            elif token.type in _KINDS:
                self._block(token, first, last)

    def _block(self, token: Token, first: int, last: int) -> None:
        self.flush(first)
        kind = _KINDS[token.type]
        if kind is ElementKind.PARAGRAPH and self._lists:
            kind = ElementKind.LIST_ITEM
        level = int(token.tag[1]) if kind is ElementKind.HEADING else 0
        self._builder.mark(kind, self._at(first), self._at(last), level)
        self._line = last

    def flush(self, line: int) -> None:
        """Mark the lines up to `line` that belong to no block."""
        if line > self._line:
            self._builder.mark(ElementKind.PARAGRAPH, self._at(self._line), self._at(line))
            self._line = line

    def _at(self, line: int) -> int:
        return min(self._starts[min(line, len(self._starts) - 1)], len(self._builder.raw))
