"""AsciiDoc: the file's own text; headings, lists, tables and listings are recognised line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder

_HEADING = re.compile(r"^(={1,6}|#{1,6})[ \t]+\S")
_ITEM = re.compile(r"^[ \t]*(?:[*\-•]{1,5}|\.{1,5}|\d+\.|[a-z]\.|.+?::)[ \t]+\S")
_FENCE = re.compile(r"^(-{4,}|\.{4,}|`{3,}|={4,}|\*{4,}|_{4,}|/{4,}|\+{4,}|--|[|,:!]={3,})[ \t]*$")
_CAPTION = re.compile(r"^\.[^\s.]")
_ATTRIBUTE = re.compile(r"^:[\w!-]+:|^\[[^\]]*\]\s*$")
_SET = re.compile(r"^:([\w-]+):[ \t]+(.*\S)")
_REFERENCE = re.compile(r"\{([\w-]+)\}")


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    text = TextBuilder.over(decode(source.path.read_bytes())[0]).raw
    shown = "\n".join(_shown(text.split("\n")))
    builder = TextBuilder.over(shown, media_type)
    if len(shown.split("\n")) < len(text.split("\n")):
        builder.warn("comments, which a reader does not see, were left out")
    _mark(builder)
    return builder.build("", source)


def _shown(lines: list[str]) -> Iterator[str]:
    """Lines without comments, with the values of attributes in the place of their names, but for listings."""
    values: dict[str, str] = {}
    listing = comment = ""
    for number, line in enumerate(lines):
        fence = found[1] if (found := _FENCE.match(line)) else ""
        if comment:
            comment = "" if fence == comment else comment
        elif listing:
            listing = "" if fence == listing else listing
            yield line
        elif fence.startswith("/") and any(other.rstrip() == fence for other in lines[number + 1 :]):
            comment = fence
        elif not line.startswith("//"):
            listing = fence if fence[:1] in tuple("-.`+") and fence != "--" else ""
            if set_here := _SET.match(line):
                values[set_here[1]] = set_here[2]
            yield _REFERENCE.sub(lambda match: values.get(match[1], match[0]), line)


def _mark(builder: TextBuilder) -> None:
    lines: list[tuple[int, str]] = []
    position = 0
    for line in builder.raw.split("\n"):
        lines.append((position, line))
        position += len(line) + 1
    block: list[tuple[int, str]] = []
    index = 0
    while index < len(lines):
        start, line = lines[index]
        fence = _FENCE.match(line)
        if fence and (end := _closing(lines, index, fence[1])):
            _flush(builder, block)
            _delimited(builder, lines, index, end, fence[1])
            index = end + 1
            continue
        if not line.strip():
            _flush(builder, block)
        elif _ATTRIBUTE.match(line) or (found := _HEADING.match(line)) or _CAPTION.match(line):
            _flush(builder, block)
            found = _HEADING.match(line)
            kind = ElementKind.HEADING if found else ElementKind.CAPTION if _CAPTION.match(line) else None
            if kind:
                builder.mark(kind, start, start + len(line), len(found[1]) if found else 0)
        else:
            if _ITEM.match(line):
                _flush(builder, block)
            block.append((start, line))
        index += 1
    _flush(builder, block)


def _closing(lines: list[tuple[int, str]], index: int, fence: str) -> int:
    """Index of the line that closes the block, 0 where none does."""
    return next((at for at in range(index + 1, len(lines)) if lines[at][1].rstrip() == fence), 0)


def _delimited(builder: TextBuilder, lines: list[tuple[int, str]], first: int, last: int, fence: str) -> None:
    start, end = lines[first + 1][0], lines[last][0]
    if fence[1:2] == "=" and fence[0] in "|,:!":
        builder.mark_table(start, end)
    elif fence[0] in "-.`+" and fence != "--":
        builder.mark(ElementKind.CODE, start, end)
    else:
        builder.mark(ElementKind.PARAGRAPH, start, end)


def _flush(builder: TextBuilder, block: list[tuple[int, str]]) -> None:
    if block:
        kind = ElementKind.LIST_ITEM if _ITEM.match(block[0][1]) else ElementKind.PARAGRAPH
        builder.mark(kind, block[0][0], block[-1][0] + len(block[-1][1]))
        block.clear()
