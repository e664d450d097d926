"""OpenDocument text, presentations and spreadsheets (ODF 1.2), read from content.xml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.package import Package
from ingestion.parse.row_spans import RowSpans
from ingestion.parse.sheets import add_sheet
from ingestion.parse.text import TextBuilder, one_line

_NAMES = "urn:oasis:names:tc:opendocument:xmlns:"
_TEXT, _TABLE, _OFFICE, _DRAW = (f"{{{_NAMES}{name}:1.0}}" for name in ("text", "table", "office", "drawing"))
_STYLE, _PRESENTATION, _MANIFEST = (f"{{{_NAMES}{name}:1.0}}" for name in ("style", "presentation", "manifest"))
_FO = f"{{{_NAMES}xsl-fo-compatible:1.0}}"
_SVG = f"{{{_NAMES}svg-compatible:1.0}}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_SKIPPED = frozenset({f"{_TEXT}tracked-changes", f"{_TEXT}sequence-decls", f"{_OFFICE}forms", f"{_TEXT}alphabetical-index-mark",
                      f"{_TEXT}ruby-text", f"{_TEXT}bookmark"})  # fmt: skip
_VALUES = ("string-value", "date-value", "time-value", "boolean-value", "value")
_MAX_COLUMNS = 2_000
"""Equal cells that are written as one with the number of its repetitions."""
_MAX_CELLS = 2_000_000


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    with Package(source) as package:
        if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
            raise DataError("encrypted with a password: save a copy without the password")
        root = package.xml("content.xml")
        styles = package.xml("styles.xml") if "styles.xml" in package and media_type.endswith("text") else None
        title = package.xml("meta.xml").findtext(f".//{_DC}title") if "meta.xml" in package else ""
    builder = TextBuilder(media_type)
    body = root.find(f"{_OFFICE}body")
    content = next(iter(body), None) if body is not None else None
    if content is None:
        raise DataError("broken document: it has no body")
    if media_type.endswith("spreadsheet"):
        _sheets(builder, content)
    else:
        _Text(builder, root).add(content)
        if styles is not None:
            _add_headers(builder, styles)
    return builder.build(title or "", source)


def _add_headers(builder: TextBuilder, styles: Any) -> None:
    """Page headers and footers, each different one once, at the end."""
    seen: set[str] = set()
    for page in styles.iter(f"{_STYLE}master-page"):
        for part in page:
            if part.tag in (f"{_STYLE}header", f"{_STYLE}footer", f"{_STYLE}header-first", f"{_STYLE}footer-first"):
                for paragraph in part.iter(f"{_TEXT}p"):
                    words = one_line("".join(paragraph.itertext()))
                    if any(character.isalpha() for character in words) and words not in seen:
                        seen.add(words)
                        builder.append(ElementKind.NOTE, words)


class _Text:
    """Blocks of a text or presentation, in document order."""

    def __init__(self, builder: TextBuilder, root: Any) -> None:
        self._builder = builder
        self._notes: list[tuple[ElementKind, str]] = []
        self._hidden = {
            str(style.get(f"{_STYLE}name"))
            for style in root.iter(f"{_STYLE}style")
            for properties in style.iter(f"{_STYLE}text-properties")
            if properties.get(f"{_TEXT}display") == "none" or properties.get(f"{_FO}font-size") in ("0pt", "1pt")
        }
        self._page = 0

    def add(self, parent: Any, in_list: int = 0) -> None:
        for child in parent:
            if not isinstance(child.tag, str) or child.tag in _SKIPPED:
                if (
                    isinstance(child.tag, str)
                    and child.tag == f"{_TEXT}tracked-changes"
                    and child.find(f".//{_TEXT}deletion") is not None
                ):
                    self._builder.warn("tracked deletions were left out")
                continue
            self._block(child, in_list)

    def _block(self, element: Any, in_list: int) -> None:
        tag = element.tag
        if tag == f"{_TEXT}h":
            level = str(element.get(f"{_TEXT}outline-level") or "1")
            self._builder.append(ElementKind.HEADING, self._inline(element), int(level) if level.isdigit() else 1)
            self._flush()
        elif tag == f"{_TEXT}p":
            self._paragraph(element, in_list)
        elif tag == f"{_TEXT}list":
            self.add(element, in_list + 1)
        elif tag == f"{_TABLE}table":
            self._builder.table([one_line(cell) for cell in row] for row in self._rows(element))
            self._flush()
        elif tag == f"{_DRAW}page":
            self._page += 1
            self._builder.page(self._page)
            self.add(element)
        elif tag == f"{_PRESENTATION}notes":
            text = "\n".join(filter(None, (self._inline(one).strip() for one in element.iter(f"{_TEXT}p"))))
            self._builder.append(ElementKind.NOTE, text)
        else:
            self.add(element, in_list)

    def _paragraph(self, element: Any, in_list: int) -> None:
        text = self._inline(element)
        style = str(element.get(f"{_TEXT}style-name") or "")
        is_title = style == "Title" or any(
            up.get(f"{_PRESENTATION}class") == "title" for up in element.iterancestors(f"{_DRAW}frame")
        )
        if is_title and self._page:
            self._builder.append(ElementKind.HEADING, text, 1)
        else:
            kind = ElementKind.TITLE if is_title else ElementKind.LIST_ITEM if in_list else ElementKind.PARAGRAPH
            self._builder.append(kind, text)
        self._flush()

    def _flush(self) -> None:
        waiting, self._notes = self._notes, []
        for kind, text in waiting:
            self._builder.append(kind, text)

    def _inline(self, element: Any) -> str:
        return "".join(self._pieces(element))

    def _pieces(self, element: Any) -> Iterator[str]:
        yield " ".join((element.text or "").split("\n"))
        for child in element:
            if isinstance(child.tag, str):
                yield from self._piece(child)
            yield " ".join((child.tail or "").split("\n"))

    def _piece(self, child: Any) -> Iterator[str]:
        tag = child.tag
        if tag == f"{_TEXT}s":
            count = str(child.get(f"{_TEXT}c") or "1")
            yield " " * min(int(count) if count.isdigit() else 1, 80)
        elif tag in (f"{_TEXT}tab", f"{_TEXT}line-break"):
            yield "\t" if tag.endswith("tab") else "\n"
        elif tag == f"{_TEXT}note":
            text = " ".join(self._inline(one) for one in child.iter(f"{_TEXT}p"))
            self._notes.append((ElementKind.NOTE, text))
        elif tag == f"{_OFFICE}annotation":
            author = one_line(str(child.findtext(f"{_DC}creator") or "unknown"))
            self._notes.append(
                (ElementKind.NOTE, f"Comment by {author}: {' '.join(self._inline(one) for one in child.iter(f'{_TEXT}p'))}")
            )
        elif str(child.get(f"{_TEXT}style-name") or "") in self._hidden:
            self._builder.warn("hidden text (invisible to a reader) was left out")
        elif tag in (f"{_DRAW}frame", f"{_DRAW}custom-shape"):
            for paragraph in child.iter(f"{_TEXT}p"):
                self._notes.append((ElementKind.PARAGRAPH, self._inline(paragraph)))
            description = one_line(str(child.findtext(f"{_SVG}desc") or ""))
            if len(description.split()) >= 3:
                self._notes.append((ElementKind.CAPTION, description))
        elif tag not in _SKIPPED:
            yield from self._pieces(child)

    def _rows(self, table: Any) -> Iterator[list[str]]:
        spans = RowSpans()
        for row in table.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table")) is table:
                line: list[str] = []
                for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                    self._add_cell(line, cell, spans)
                yield line

    def _add_cell(self, line: list[str], cell: Any, spans: RowSpans) -> None:
        covered = cell.tag.endswith("covered-table-cell")
        text = "" if covered else " ".join(self._inline(one) for one in cell.iter(f"{_TEXT}p", f"{_TEXT}h"))
        for column in range(len(line), len(line) + min(_number(cell, "number-columns-repeated"), _MAX_COLUMNS)):
            line.append(spans.taken(column) if covered else text)
            if not covered:
                spans.begin(column, text, _number(cell, "number-rows-spanned"))


def _sheets(builder: TextBuilder, content: Any) -> None:
    for number, sheet in enumerate(content.iter(f"{_TABLE}table"), start=1):
        add_sheet(builder, number, str(sheet.get(f"{_TABLE}name") or f"Sheet {number}"), _sheet_rows(builder, sheet))
        for shapes in sheet.iter(f"{_TABLE}shapes", f"{_DRAW}frame", f"{_DRAW}custom-shape"):
            if next(shapes.iterancestors(f"{_TABLE}shapes"), None) is None:
                for paragraph in shapes.iter(f"{_TEXT}p"):
                    builder.append(ElementKind.PARAGRAPH, "".join(paragraph.itertext()))
        for remark in sheet.iter(f"{_OFFICE}annotation"):
            author = one_line(str(remark.findtext(f"{_DC}creator") or "unknown"))
            words = " ".join("".join(one.itertext()) for one in remark.iter(f"{_TEXT}p"))
            builder.append(ElementKind.NOTE, f"Comment by {author}: {one_line(words)}")


def _sheet_rows(builder: TextBuilder, sheet: Any) -> Iterator[list[object]]:
    room = _MAX_CELLS
    for row in sheet.iter(f"{_TABLE}table-row"):
        cells: list[object] = []
        empty = 0
        for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            repeated = min(_number(cell, "number-columns-repeated"), _MAX_COLUMNS)
            if shown := _shown(cell):
                cells += [""] * empty + [shown] * repeated
                empty = 0
            else:
                empty += repeated
        rows = _number(row, "number-rows-repeated") if cells else 1
        if rows * len(cells) > room:
            builder.warn("a table was cut off: too many cells")
            rows = room // len(cells)
        room -= rows * len(cells)
        for _ in range(rows):
            yield cells


def _shown(cell: Any) -> str:
    """A cell as it is shown; where a program did not write that down, its value."""
    text = "\n".join("".join(one.itertext()) for one in cell if one.tag == f"{_TEXT}p")
    return text or next((str(cell.get(f"{_OFFICE}{name}")) for name in _VALUES if cell.get(f"{_OFFICE}{name}")), "")


def _number(element: Any, name: str) -> int:
    value = str(element.get(f"{_TABLE}{name}") or "1")
    return int(value) if value.isdigit() else 1
