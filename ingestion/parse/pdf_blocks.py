"""Lines of PDF pages to elements: headings by size and weight, paragraphs, list items, code, tables; page furniture dropped."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ckllm.contracts import ElementKind
from ingestion.parse.pdf_glyphs import PageGlyphs
from ingestion.parse.pdf_layout import Line
from ingestion.parse.text import CELL_SEPARATOR

_NAN = float("nan")
_MARGIN = 0.13
_HEADING_RATIO = 1.15
_MAX_HEADING = 160
_LIST = re.compile(r"^(?:[•▪‣◦·●○■□➢✓❖–*-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])(?:\s|$)")
_PAGE_LABEL = re.compile(
    r"^(?:(?:page|seite|página|pagina|p\.|стр\.|第|-|–|—|\|)?\s*(?:#|[ivxlc]+)\s*(?:(?:of|von|de|di|из|/|页|ページ|쪽|-|–|—|\|)\s*#?)?)$",
    re.I,
)
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7af]")
_SENTENCE_END = (".", "!", "?", ":", ";", "。", "！", "？", "؟", "।", "…")


@dataclass(slots=True)
class PageLines:
    page: PageGlyphs
    lines: list[Line]


@dataclass(slots=True)
class Block:
    """Lines that make one element."""

    kind: ElementKind
    lines: list[Line] = field(default_factory=list)
    level: int = 0


def drop_furniture(pages: Sequence[PageLines]) -> int:
    """Remove headers and footers that repeat across pages (their first occurrence stays) and page numbers.

    Needs three pages; a line is furniture where it stands in the top or bottom eighth of at least three pages and two in
    five, at the same height, with the same text but for its digits. Of these only such may differ that count the pages; and
    no page has more than two such lines: a table's rows differ in nothing but digits either. Returns how many lines were removed.
    """
    if len(pages) < 3:
        return 0
    places: Counter[tuple[str, int]] = Counter()
    most: Counter[str] = Counter()
    for one in pages:
        places.update({key for line in one.lines if (key := _furniture_key(one.page, line))})
        for text, count in Counter(_without_digits(line) for line in one.lines).items():
            most[text] = max(most[text], count)  # |= would go over all of them for each page
    wanted = max(3, 0.4 * len(pages))
    seen: dict[str, list[tuple[int, list[int]]]] = {}
    removed = 0
    for one in pages:
        kept = []
        for line in one.lines:
            key = _furniture_key(one.page, line)
            count = sum(places[(key[0], key[1] + shift)] for shift in (-1, 0, 1)) if key else 0
            if key and count >= wanted and most[key[0]] <= 2:
                before = seen.setdefault(key[0], [])
                numbers = [int(digits[:15]) for digits in re.findall(r"\d+", line.text)]
                recent = (*before[:1], *before[-3:])
                if _PAGE_LABEL.match(key[0]) or any(_counts_on(*last, one.page.number, numbers) for last in recent):
                    removed += 1
                    before.append((one.page.number, numbers))
                    continue
                before.append((one.page.number, numbers))
            kept.append(line)
        one.lines = kept
    return removed


def _counts_on(page: int, numbers: list[int], other_page: int, others: list[int]) -> bool:
    """Whether the numbers of a line are those of a line on another page, but for such as count the pages."""
    return all(other - number in (0, other_page - page) for number, other in zip(numbers, others, strict=False))


def _without_digits(line: Line) -> str:
    return re.sub(r"\d+", "#", " ".join(line.text.split()))[:200]


def _furniture_key(page: PageGlyphs, line: Line) -> tuple[str, int] | None:
    boxes = [glyph for fragment in line.fragments for glyph in fragment.glyphs]
    top, bottom = min(glyph.y0 for glyph in boxes), max(glyph.y1 for glyph in boxes)
    if _MARGIN * page.height < (top + bottom) / 2 < (1 - _MARGIN) * page.height:
        return None
    text = _without_digits(line)
    return (text, round(top / 8)) if text else None


def body_size(pages: Iterable[PageLines]) -> float:
    """The size that most characters are set in."""
    sizes: Counter[float] = Counter()
    for one in pages:
        for line in one.lines:
            for fragment in line.fragments:
                sizes[round(fragment.style.size * 2) / 2] += len(fragment.glyphs)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def blocks_of(lines: Sequence[Line], body: float) -> list[Block]:
    """Group a page's lines into elements."""
    blocks: list[Block] = []
    position = 0
    while position < len(lines):
        if (rows := _table_rows(lines, position)) > 0:
            blocks.append(Block(ElementKind.TABLE, list(lines[position : position + rows])))
            position += rows
            continue
        line = lines[position]
        kind = _kind(line, body)
        last = blocks[-1] if blocks else None
        if last is not None and last.kind is not ElementKind.TABLE and _continues(last, line, kind):
            last.lines.append(line)
        else:
            blocks.append(Block(kind, [line]))
        position += 1
    for block in blocks:
        _demote(block, body)
    return blocks


def _kind(line: Line, body: float) -> ElementKind:
    text = line.text.strip()
    if _LIST.match(text):
        return ElementKind.HEADING if _is_heading(line, body, text) and text[:1].isdigit() else ElementKind.LIST_ITEM
    if line.mono:
        return ElementKind.CODE
    return ElementKind.HEADING if _is_heading(line, body, text) else ElementKind.PARAGRAPH


def _is_heading(line: Line, body: float, text: str) -> bool:
    if len(text) > _MAX_HEADING or not any(character.isalpha() for character in text):
        return False
    if line.size >= body * _HEADING_RATIO:
        return True
    return line.bold and line.size >= body * 0.95 and not text.endswith((".", ",", ";")) and len(text) < 100


def _continues(block: Block, line: Line, kind: ElementKind) -> bool:
    """True where the line belongs to the block that stands before it."""
    last = block.lines[-1]
    if line.column != last.column or abs(line.size - last.size) > 0.12 * max(line.size, last.size):
        return False
    height = max(1.0, min(last.y1 - last.y0, line.y1 - line.y0))
    gap = line.y0 - last.y1
    if gap > 0.9 * height or gap < -1.2 * height:
        return False
    if block.kind is ElementKind.HEADING or kind is ElementKind.HEADING:
        return block.kind is kind and last.bold == line.bold and gap < 0.6 * height
    if block.kind is ElementKind.CODE or kind is ElementKind.CODE:
        return block.kind is kind
    if kind is ElementKind.LIST_ITEM:
        return False
    if len(block.lines) >= 2 and gap > 0.35 * height + max(0.0, block.lines[1].y0 - block.lines[0].y1):
        return False
    return not _is_new_paragraph(block, last, line, height)


def _is_new_paragraph(block: Block, last: Line, line: Line, height: float) -> bool:
    """The last line ends a sentence short of the column's edge, or this one is indented."""
    ends = last.text.rstrip().endswith(_SENTENCE_END)
    right = max(one.x1 for one in block.lines)
    if ends and len(block.lines) > 1 and last.x1 < right - 4 * height:
        return True
    left = min(one.x0 for one in block.lines[1:]) if len(block.lines) > 1 else last.x0
    return ends and block.kind is ElementKind.PARAGRAPH and 0.8 * height < line.x0 - left < 6 * height


def _demote(block: Block, body: float) -> None:
    """A long bold or large passage is a paragraph, a short run of code lines may be a list of numbers."""
    if block.kind is ElementKind.HEADING and (
        len(block.lines) > 4 or sum(len(line.text) for line in block.lines) > 2 * _MAX_HEADING
    ):
        block.kind = ElementKind.PARAGRAPH
    if block.kind is ElementKind.HEADING:
        block.level = 1 if block.lines[0].size >= 1.5 * body else 2 if block.lines[0].size >= body * _HEADING_RATIO else 3


def _table_rows(lines: Sequence[Line], position: int) -> int:
    """How many lines from `position` on are rows of a table: three or more with two or more cells that line up."""
    count = 0
    while position + count < len(lines):
        line = lines[position + count]
        if len(line.fragments) < 2:
            break
        if count and not _aligned(lines[position + count - 1], line):
            break
        count += 1
    return count if count >= 3 else 0


def _aligned(one: Line, other: Line) -> bool:
    tolerance = 0.8 * max(1.0, one.y1 - one.y0)
    pairs = 0
    for cell in other.fragments[1:]:
        pairs += any(
            abs(cell.x0 - above.x0) < tolerance
            or abs(cell.x1 - above.x1) < tolerance
            or abs(cell.x0 + cell.x1 - above.x0 - above.x1) < 2 * tolerance
            for above in one.fragments[1:]
        )
    return pairs > 0


# ------------------------------------------------------------------------------------------ text with boxes


def writes_spaces(pages: Iterable[PageLines]) -> bool:
    """True where the file puts a space after words at line ends, so that its absence says that a Korean word goes on."""
    ends = [line.fragments[-1] for one in pages for line in one.lines if _HANGUL.match(line.text[-1:])]
    return sum(one.spaced for one in ends) > 0.05 * len(ends)


def _between(block: Block, number: int, words_end_in_spaces: bool) -> str:
    """What joins two lines of a paragraph: nothing where the script breaks lines inside words, else a space.

    After a hyphen it is a newline, so that the hyphen's place at the line's end is not lost.
    """
    line, following = block.lines[number - 1], block.lines[number]
    last, first = line.text[-1:], following.text[:1]
    if last in ("-", "‐"):
        return "\n"
    if _NO_SPACES.match(last) and _NO_SPACES.match(first):
        return " " if line.fragments[-1].spaced else ""
    if words_end_in_spaces and _HANGUL.match(last) and _HANGUL.match(first):
        is_full = line.x1 >= max(one.x1 for one in block.lines) - 1.5 * (line.y1 - line.y0)
        return "" if is_full and not line.fragments[-1].spaced else " "
    return " "


@dataclass(slots=True)
class BoxedText:
    """Text with four floats a character; `starts` are where its lines start."""

    text: str = ""
    boxes: array[float] = field(default_factory=lambda: array("f"))
    starts: list[int] = field(default_factory=list)


def boxed_text(block: Block, words_end_in_spaces: bool) -> BoxedText:
    """The block's text. Lines of a paragraph are joined by a space, after a hyphen by a newline; cells by " | ".

    `words_end_in_spaces`: see `writes_spaces`.
    """
    result = BoxedText()
    pieces: list[str] = []
    length = 0

    def put(text: str, box: tuple[float, float, float, float]) -> None:
        nonlocal length
        pieces.append(text)
        length += len(text)
        result.boxes.extend(box * len(text))

    nothing = (_NAN, _NAN, _NAN, _NAN)
    by_line = block.kind in (ElementKind.TABLE, ElementKind.CODE)
    for number, line in enumerate(block.lines):
        if number:
            put("\n" if by_line else _between(block, number, words_end_in_spaces), nothing)
        result.starts.append(length)
        for place, fragment in enumerate(line.fragments):
            if place:
                put(CELL_SEPARATOR if block.kind is ElementKind.TABLE else " ", nothing)
            for glyph in fragment.glyphs:
                put(glyph.text, nothing if glyph.generated else (glyph.x0, glyph.y0, glyph.x1, glyph.y1))
    result.text = "".join(pieces)
    return result
