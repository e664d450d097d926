"""Legacy Word documents (Word 97 to 2003, and the text of Word 6 and 95), read after [MS-DOC].

The text is a chain of pieces in the WordDocument stream (2.4.1); what each paragraph is stands in formatted disk pages
(2.9.174) and in the style sheet (2.9.271), whose built-in style numbers do not depend on the language of the program.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder, one_line

_MAGIC = 0xA5EC
_WORD_97 = 193
_ENCRYPTED, _TABLE_1 = 0x0100, 0x0200
_COMPRESSED = 0x40000000
_PAGE = 512
_FIELD = re.compile("\x13[^\x13\x14\x15]*(?:\x14([^\x13\x14\x15]*))?\x15")
_SPECIAL = {0x1E: "-", 0x1F: "", 0x0B: "\n", 0x0E: "\n", 0xA0: " ", 0x01: "", 0x02: "", 0x03: "", 0x04: "", 0x05: "", 0x08: ""}
_TITLE, _CAPTION = 62, 34
_LISTS = frozenset({*range(47, 62)})
_IN_TABLE, _ROW_END, _OUTLINE, _LIST = 0x2416, 0x2417, 0x2640, 0x460B


@dataclass(slots=True)
class _Paragraph:
    """What a paragraph is: its style's built-in number and outline level, and whether it ends a table row."""

    style: int = 0xFFF
    outline: int = 9
    row_end: bool = False
    in_list: bool = False
    in_table: bool = False


@dataclass(slots=True)
class _Properties:
    """Paragraph properties by the place of a paragraph in the stream."""

    starts: list[int] = field(default_factory=list)
    found: list[_Paragraph] = field(default_factory=list)

    def at(self, offset: int) -> _Paragraph:
        place = bisect_right(self.starts, offset) - 1
        return self.found[place] if place >= 0 else _Paragraph()


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    import olefile

    builder = TextBuilder(media_type)
    with olefile.OleFileIO(source.path) as container:
        main = container.openstream("WordDocument").read()
        if len(main) < 0x60 or struct.unpack_from("<H", main)[0] not in (_MAGIC, 0xA5DC):
            raise DataError("broken document: it has no Word header")
        version, flags = struct.unpack_from("<H", main, 2)[0], struct.unpack_from("<H", main, 10)[0]
        if flags & _ENCRYPTED:
            raise DataError("encrypted with a password: save a copy without the password")
        if container.exists("Macros") or container.exists("_VBA_PROJECT_CUR"):
            builder.warn("macros were ignored")
        try:
            if version < _WORD_97:
                _add_old(builder, main)
            else:
                _add_text(builder, main, container.openstream("1Table" if flags & _TABLE_1 else "0Table").read())
        except (struct.error, IndexError, OSError) as error:
            raise DataError(f"broken document: {error}") from error
    return builder.build("", source)


def _add_old(builder: TextBuilder, main: bytes) -> None:
    start, end = struct.unpack_from("<II", main, 0x18)
    text = decode(main[start:end])[0]
    for paragraph in re.split("[\r\x0c]", text):
        builder.append(ElementKind.PARAGRAPH, _shown(paragraph.replace("\x07", " | ").rstrip("| ")))


def _add_text(builder: TextBuilder, main: bytes, table: bytes) -> None:
    """The main text, then footnotes, headers, comments, endnotes and text boxes, which follow it in the pieces."""
    text, offsets = _pieces(main, table)
    properties = _properties(main, table)
    lengths = struct.unpack_from("<8i", main, 0x4C)
    parts = (lengths[0], lengths[1], lengths[2], lengths[3], lengths[4], lengths[5], lengths[6], lengths[7])
    position = 0
    for place, length in enumerate(parts):
        end = position + max(0, length)
        if place == 0:
            _add_main(builder, text[position:end], offsets[position:end], properties)
        elif place not in (3,):
            seen: set[str] = set()
            for paragraph in re.split("[\r\x07\x0c]", text[position:end]):
                words = one_line(_shown(paragraph))
                if words and words not in seen and any(character.isalpha() for character in words):
                    seen.add(words)
                    builder.append(ElementKind.NOTE if place < 6 else ElementKind.PARAGRAPH, words)
        position = end


def _add_main(builder: TextBuilder, text: str, offsets: list[int], properties: _Properties) -> None:
    row: list[str] = []
    rows: list[list[str]] = []
    cell: list[str] = []
    start = 0
    for match in re.finditer("[\r\x07\x0c]", text):
        paragraph, start, mark = text[start : match.start()], match.end(), match[0]
        what = properties.at(offsets[match.start()])
        if mark == "\x07":
            if what.row_end:
                rows.append(row)
                row = []
            else:
                row.append(one_line(" ".join([*cell, _shown(paragraph)])))
            cell = []
            continue
        if row or what.in_table:  # one of several paragraphs in a cell
            cell.append(_shown(paragraph))
            continue
        builder.table(rows)
        rows = []
        _add_paragraph(builder, paragraph, what)
    builder.table(rows)
    if row or cell:
        builder.append(ElementKind.PARAGRAPH, " ".join([*row, *cell]))
    _add_paragraph(builder, text[start:], _Paragraph())


def _add_paragraph(builder: TextBuilder, paragraph: str, what: _Paragraph) -> None:
    shown = _shown(paragraph)
    if 1 <= what.style <= 9:
        builder.append(ElementKind.HEADING, shown, what.style)
    elif what.outline < 9:
        builder.append(ElementKind.HEADING, shown, what.outline + 1)
    elif what.style == _TITLE:
        builder.append(ElementKind.TITLE, shown)
    elif what.style == _CAPTION:
        builder.append(ElementKind.CAPTION, shown)
    else:
        builder.append(ElementKind.LIST_ITEM if what.in_list or what.style in _LISTS else ElementKind.PARAGRAPH, shown)


def _shown(text: str) -> str:
    """Text without field codes and the marks of pictures, notes and drawings."""
    while "\x13" in text:
        shorter = _FIELD.sub(lambda match: match[1] or "", text)
        if shorter == text:
            break
        text = shorter
    return text.translate(_SPECIAL)


def _pieces(main: bytes, table: bytes) -> tuple[str, list[int]]:
    """The text, and for every character its offset in the main stream (2.8.35, 2.9.177)."""
    start, length = struct.unpack_from("<II", main, 0x1A2)
    clx = table[start : start + length]
    position = 0
    while position < len(clx) and clx[position] == 1:
        position += 3 + struct.unpack_from("<H", clx, position + 1)[0]
    if position >= len(clx) or clx[position] != 2:
        raise IndexError("no piece table")
    size = struct.unpack_from("<I", clx, position + 1)[0]
    plc = clx[position + 5 : position + 5 + size]
    count = (len(plc) - 4) // 12
    ends = struct.unpack_from(f"<{count + 1}I", plc)
    texts: list[str] = []
    offsets: list[int] = []
    for index in range(count):
        place = struct.unpack_from("<I", plc, 4 * (count + 1) + 8 * index + 2)[0]
        characters = ends[index + 1] - ends[index]
        if place & _COMPRESSED:
            begin, step = (place & ~_COMPRESSED) // 2, 1
            piece = main[begin : begin + characters].decode("cp1252", "replace")
        else:
            begin, step = place, 2
            piece = main[begin : begin + 2 * characters].decode("utf-16-le", "surrogatepass")
        texts.append(piece)
        offsets.extend(range(begin, begin + step * len(piece), step))
    return "".join(texts), offsets


def _properties(main: bytes, table: bytes) -> _Properties:
    """Paragraph properties from the formatted disk pages; empty where they are broken: the text counts."""
    start, length = struct.unpack_from("<II", main, 0x102)
    plc = table[start : start + length]
    count = max(0, (len(plc) - 4) // 8)
    styles = _styles(main, table)
    entries: list[tuple[int, _Paragraph]] = []
    for index in range(count):
        number = struct.unpack_from("<I", plc, 4 * (count + 1) + 4 * index)[0] & 0x3FFFFF
        page = main[number * _PAGE : (number + 1) * _PAGE]
        if len(page) == _PAGE:
            entries.extend(_page_entries(page, styles))
    entries.sort(key=lambda entry: entry[0])
    return _Properties([entry[0] for entry in entries], [entry[1] for entry in entries])


def _page_entries(page: bytes, styles: list[int]) -> list[tuple[int, _Paragraph]]:
    runs = page[511]
    found = []
    for run in range(runs):
        start = struct.unpack_from("<I", page, 4 * run)[0]
        at = page[4 * (runs + 1) + 13 * run] * 2
        if not at or at + 3 > _PAGE:
            found.append((start, _Paragraph(styles[0] if styles else 0xFFF)))
            continue
        size, begin = (2 * page[at] - 1, at + 1) if page[at] else (2 * page[at + 1], at + 2)
        data = page[begin : begin + size]
        style = struct.unpack_from("<H", data)[0] if len(data) >= 2 else 0
        paragraph = _Paragraph(styles[style] if style < len(styles) else 0xFFF)
        _apply(data[2:], paragraph)
        found.append((start, paragraph))
    return found


def _apply(modifiers: bytes, paragraph: _Paragraph) -> None:
    """Read the property modifiers that matter (2.6.2)."""
    position = 0
    while position + 2 < len(modifiers):
        code = struct.unpack_from("<H", modifiers, position)[0]
        position += 2
        value = modifiers[position]
        if code == _ROW_END:
            paragraph.row_end = bool(value)
        elif code == _IN_TABLE:
            paragraph.in_table = bool(value)
        elif code == _OUTLINE:
            paragraph.outline = value
        elif code == _LIST:
            paragraph.in_list = modifiers[position : position + 2] not in (b"\x00\x00", b"")
        size = (1, 1, 2, 4, 2, 2, 0, 3)[code >> 13]
        if size == 0:
            size = 1 + (
                struct.unpack_from("<H", modifiers, position)[0] if code == 0xD608 and position + 2 <= len(modifiers) else value
            )
        position += size


def _styles(main: bytes, table: bytes) -> list[int]:
    """Built-in style number of every style of the document, by its index (2.9.260)."""
    start, length = struct.unpack_from("<II", main, 0xA2)
    sheet = table[start : start + length]
    if len(sheet) < 6:
        return []
    position = 2 + struct.unpack_from("<H", sheet)[0]
    found = []
    while position + 2 <= len(sheet):
        size = struct.unpack_from("<H", sheet, position)[0]
        found.append(
            struct.unpack_from("<H", sheet, position + 2)[0] & 0xFFF if size >= 2 and position + 4 <= len(sheet) else 0xFFF
        )
        position += 2 + size + size % 2
    return found
