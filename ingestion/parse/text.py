"""Building a document's text so that every element is an exact slice of it.

All parsers use :class:`TextBuilder`, in one of two ways. Formats whose text has to be composed (PDF, DOCX, HTML, mail …)
`append` one piece after the other. Formats that are text already (Markdown, source code, plain text) start from the file's
own text (`over`) and `mark` what its parts are, so that offsets are those of the file.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ckllm.contracts import Document, Element, ElementKind, PageSpan, RowSet, Source
from ckllm.errors import DataError
from ingestion.parse.language import detect_language

CELL_SEPARATOR = " | "
_MAX_WARNINGS = 20
_MAX_TITLE = 200

# C0 and C1 controls other than tab and newline, lone surrogates, non-characters: no store and no model wants them. Nor
# overrides of the writing direction and tag characters, by which a text says something else to a machine than to its reader
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u202d\u202e\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_-]*")
"""A picture or font written out in the text."""
_INVISIBLE = {0x00: None, 0xAD: None, 0xFEFF: None}
_WHITE = re.compile(r"\s+")
_LONE_BAR = re.compile(r"(?<!\S)\|(?!\S)")


def scrub(text: str) -> str:
    """Replace characters that no text may hold, one for one, so that offsets stay."""
    return _UNWANTED.sub(lambda match: "\ufffd" if "\ud800" <= match[0] <= "\uffff" else " ", text)


def clean(text: str) -> str:
    """Line ends become newlines, surrogate pairs one character, NULs vanish, what is unwanted is replaced.

    Soft hyphens, which only say where a word may be parted, and byte-order marks vanish too: else the word is not found.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.translate(_INVISIBLE) if any(sign in text for sign in "\x00\xad\ufeff") else text
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return scrub(text)


def one_line(text: str) -> str:
    """Runs of white space to one space."""
    return _WHITE.sub(" ", text).strip()


def cell_line(text: str) -> str:
    """A cell on one line; a bar that would read as the end of the cell is escaped as in Markdown."""
    return _LONE_BAR.sub(r"\|", one_line(clean(text)))


@dataclass(slots=True)
class _OpenPage:
    number: int
    width: float
    height: float
    start: int | None = None
    end: int = 0


class TextBuilder:
    """Collects elements in reading order; `build` makes the document."""

    def __init__(self, media_type: str = "") -> None:
        self.media_type = media_type
        self.warnings: list[str] = []
        self.attachments: list[Source] = []
        self._raw: str | None = None
        self._parts: list[str] = []
        self._length = 0
        self._elements: list[Element] = []
        self._pages: list[_OpenPage] = []
        self._boxes: array[float] | None = None
        self._record_sets: list[RowSet] = []

    @classmethod
    def over(cls, text: str, media_type: str = "") -> Self:
        """A builder whose text is `text` (cleaned) as it stands; only `mark` adds elements."""
        builder = cls(media_type)
        builder._raw = clean(text)
        return builder

    @property
    def raw(self) -> str:
        """The text of a builder made with `over`."""
        assert self._raw is not None
        return self._raw

    @property
    def text(self) -> str:
        """What was appended so far."""
        return "".join(self._parts)

    @property
    def empty(self) -> bool:
        return not self._elements

    def __len__(self) -> int:
        """Number of elements."""
        return len(self._elements)

    # ------------------------------------------------------------------------------------------ composing

    def page(self, number: int, width: float = 0.0, height: float = 0.0) -> None:
        """What is appended from here on stands on this page (1-based page, slide or sheet; size in points)."""
        self._pages.append(_OpenPage(number, width, height))

    def append(self, kind: ElementKind, text: str, level: int = 0, boxes: array[float] | None = None) -> None:
        """Add one element. With `boxes` (four floats a character of `text`) the text is scrubbed one for one."""
        text = scrub(text) if boxes is not None else clean(text)
        trimmed = text.strip("\n") if kind is ElementKind.CODE else text.strip()
        if not trimmed.strip():
            return
        if boxes is not None and trimmed != text:
            cut = text.index(trimmed)
            boxes = boxes[4 * cut : 4 * (cut + len(trimmed))]
        text = trimmed
        start = self._separate(kind)
        self._put(text, boxes)
        self._elements.append(Element(kind, start, self._length, level, self._current_page()))

    def table(self, rows: Iterable[Sequence[str]], header_rows: int = 1) -> None:
        """Add a table, one line a row; the first `header_rows` that have text are its header."""
        lines = [CELL_SEPARATOR.join(cell_line(cell) for cell in row).rstrip() for row in rows]
        lines = [line for line in lines if line.replace("|", "").strip()]
        if not lines:
            return
        start = position = self._separate(ElementKind.TABLE)
        starts = []
        for line in lines:
            starts.append(position)
            position += len(line) + 1
        self._put("\n".join(lines))
        header = "\n".join(lines[:header_rows]) if header_rows and len(lines) > header_rows else ""
        self._elements.append(
            Element(ElementKind.TABLE, start, self._length, page=self._current_page(), header=header, rows=tuple(starts))
        )

    def boxed_table(self, text: str, row_starts: Sequence[int], boxes: array[float]) -> None:
        """Add a table that is composed already: one line a row, `row_starts` within `text`, four floats a character."""
        start = self._separate(ElementKind.TABLE)
        self._put(scrub(text), boxes)
        header = text[: row_starts[1]].rstrip("\n") if len(row_starts) > 1 else ""
        rows = tuple(start + row for row in row_starts)
        self._elements.append(
            Element(ElementKind.TABLE, start, self._length, page=self._current_page(), header=header, rows=rows)
        )

    def records(self, first: int, count: int) -> None:
        """The last elements, from number `first` on, are the `count` records of one set; nothing is noted where they are not."""
        elements = self._elements[first:]
        if count > 1 and len(elements) == count:
            starts = tuple(element.start for element in elements)
            self._record_sets.append(RowSet(starts[0], elements[-1].end, starts, records=True))

    def _separate(self, kind: ElementKind) -> int:
        if self._elements:
            lists = kind is ElementKind.LIST_ITEM and self._elements[-1].kind is ElementKind.LIST_ITEM
            self._put("\n" if lists else "\n\n")
        return self._length

    def _put(self, text: str, boxes: array[float] | None = None) -> None:
        if boxes is not None and self._boxes is None:
            self._boxes = array("f", [float("nan")]) * (4 * self._length)
        if self._boxes is not None:
            self._boxes.extend(boxes if boxes is not None else array("f", [float("nan")]) * (4 * len(text)))
            assert boxes is None or len(boxes) == 4 * len(text), "one box a character"
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        if self._pages and text.strip():
            page = self._pages[-1]
            page.start = start if page.start is None else page.start
            page.end = self._length

    def _current_page(self) -> int | None:
        return self._pages[-1].number if self._pages else None

    # ------------------------------------------------------------------------------------------ marking

    def mark(self, kind: ElementKind, start: int, end: int, level: int = 0) -> None:
        """Call [start:end] of the raw text an element; white space at its ends is left out, empty ones are skipped."""
        start, end = self._trimmed(start, end, kind)
        if start < end:
            self._elements.append(Element(kind, start, end, level))

    def mark_table(self, start: int, end: int, header_lines: int = 1) -> None:
        """Call [start:end] of the raw text a table with one row a line."""
        start, end = self._trimmed(start, end, ElementKind.TABLE)
        lines = self.raw[start:end].split("\n")
        starts, position = [], start
        for line in lines:
            starts.append(position)
            position += len(line) + 1
        header = "\n".join(lines[:header_lines]) if len(lines) > header_lines else ""
        if start < end:
            self._elements.append(Element(ElementKind.TABLE, start, end, header=header, rows=tuple(starts)))

    def _trimmed(self, start: int, end: int, kind: ElementKind) -> tuple[int, int]:
        text = self.raw[start:end]
        start += len(text) - len(text.lstrip("\n" if kind is ElementKind.CODE else None))
        return start, start + len(self.raw[start:end].rstrip())

    # ------------------------------------------------------------------------------------------ finishing

    def warn(self, warning: str) -> None:
        """Note what was left out or neutralised; each only once."""
        if warning not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(warning)

    def build(self, title: str, source: Source, lang: str = "") -> Document:
        """The document. Raises DataError("no text: …") where nothing was added.

        The title is the given one, else the first title or heading, else the source's name.
        """
        if not self._elements:
            why = f" ({'; '.join(self.warnings)})" if self.warnings else ""
            raise DataError(f"no text: it holds nothing to index{why or ': leave it out'}")
        text = self._raw if self._raw is not None else "".join(self._parts)
        return Document(
            title=self._title(title, text) or source_name(source),
            text=text,
            elements=tuple(self._elements),
            pages=tuple(self._page_spans()),
            boxes=self._boxes,
            lang=detect_language(text, lang),
            media_type=self.media_type,
            warnings=tuple(self.warnings),
            attachments=tuple(self.attachments),
            row_sets=self._row_sets(),
        )

    def _row_sets(self) -> tuple[RowSet, ...]:
        tables = (
            RowSet(one.start, one.end, one.rows, one.header.count("\n") + 1 if one.header else 0)
            for one in self._elements
            if one.kind is ElementKind.TABLE and one.rows
        )
        return tuple(sorted((*tables, *self._record_sets), key=lambda one: one.start))

    def _title(self, title: str, text: str) -> str:
        title = one_line(clean(title))
        if title:
            return title[:_MAX_TITLE]
        for kind in (ElementKind.TITLE, ElementKind.HEADING):
            for element in self._elements[:50]:
                if element.kind is kind:
                    return one_line(text[element.start : element.end]).lstrip("#= ")[:_MAX_TITLE]
        return ""

    def _page_spans(self) -> Iterable[PageSpan]:
        position = 0
        for page in self._pages:
            start = position if page.start is None else page.start
            position = max(start, page.end)
            yield PageSpan(page.number, start, position, page.width, page.height)


def source_name(source: Source) -> str:
    """The last part of a source's name: the file's, the archive member's or the URL's."""
    last = source.uri.rstrip("/").replace("!/", "/").rsplit("/", 1)[-1]
    return last or source.uri
