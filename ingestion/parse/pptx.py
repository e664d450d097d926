"""PPTX through python-pptx: a slide is a page; titles, text in groups too, tables, charts, diagrams, notes, comments."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.docx_tree import MC, chosen
from ingestion.parse.drawing import chart_texts, diagram_texts
from ingestion.parse.package import Package, is_junk_title, read_xml
from ingestion.parse.row_spans import RowSpans
from ingestion.parse.text import TextBuilder, one_line

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
_EMU_PER_POINT = 12700
_MIN_ALT_WORDS = 3
_MAX_DEPTH = 20
_BROKEN = (KeyError, ValueError, AttributeError, TypeError, IndexError)
_FURNITURE = frozenset({"SLIDE_NUMBER", "DATE"})


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    from pptx.exc import PackageNotFoundError
    from pptx.package import Package as Opened

    builder = TextBuilder(media_type)
    try:
        # by its part, not by pptx.Presentation, which refuses shows and templates
        presentation = Opened.open(_checked(source)).main_document_part.presentation
    except (KeyError, ValueError, AttributeError, zipfile.BadZipFile, PackageNotFoundError) as error:
        raise DataError(f"broken presentation: {error}") from error
    width, height = (presentation.slide_width or 0) / _EMU_PER_POINT, (presentation.slide_height or 0) / _EMU_PER_POINT
    authors = _authors(presentation)
    for number, slide in enumerate(presentation.slides, start=1):
        builder.page(number, width, height)
        _Slide(builder, slide, authors).add()
    title = str(presentation.core_properties.title or "")
    return builder.build("" if is_junk_title(title) else title, source)


def _checked(source: Source) -> BytesIO:
    """The file as python-pptx reads it. Bombs and broken parts are refused before it unpacks everything."""
    with Package(source) as package:
        for part in package.parts:
            if part.endswith((".xml", ".rels")):
                package.read(part)
        return package.usual()


def _mend(slide: Any) -> None:
    """Put of a shape's two forms the newer in place of both, which python-pptx passes over; drop kinds it does not know."""
    from pptx.enum.shapes import PP_PLACEHOLDER

    for alternatives in list(slide.element.iter(f"{MC}AlternateContent")):
        if alternatives.getparent() is not None and alternatives.getparent().tag in (f"{_P}spTree", f"{_P}grpSp"):
            for shape in list(chosen(alternatives)):
                alternatives.addprevious(shape)
            alternatives.getparent().remove(alternatives)
    known = {kind.xml_value for kind in PP_PLACEHOLDER}
    for placeholder in slide.element.iter(f"{_P}ph"):
        if placeholder.get("type", "obj") not in known:
            del placeholder.attrib["type"]


class _Slide:
    def __init__(self, builder: TextBuilder, slide: Any, authors: dict[str, str]) -> None:
        self._builder = builder
        self._slide = slide
        self._authors = authors

    def add(self) -> None:
        if self._slide.element.get("show") == "0":
            self._builder.warn("hidden slides are part of the text")
        _mend(self._slide)
        title = self._slide.shapes.title
        shapes = sorted(self._slide.shapes, key=lambda shape: _place(shape, title))
        for shape in shapes:
            try:
                self._shape(shape, shape is title or (title is not None and shape.shape_id == title.shape_id), 0)
            except (DataError, *_BROKEN):
                self._builder.warn("a shape that is broken was left out")
        self._notes()
        self._comments()

    def _shape(self, shape: Any, is_title: bool, depth: int) -> None:
        if depth > _MAX_DEPTH or _is_hidden(shape):
            return
        if getattr(shape, "shapes", None) is not None and shape.element.tag == f"{_P}grpSp":
            for inner in shape.shapes:
                self._shape(inner, False, depth + 1)
            return
        if (
            shape.is_placeholder
            and shape.placeholder_format.type is not None
            and shape.placeholder_format.type.name in _FURNITURE
        ):
            return
        if getattr(shape, "has_table", False) and shape.has_table:
            self._table(shape.table)
        elif getattr(shape, "has_chart", False) and shape.has_chart:
            lines = chart_texts(read_xml(shape.chart.part.blob))
            self._builder.append(ElementKind.PARAGRAPH, "\n".join(lines))
        elif shape.element.tag == f"{_P}graphicFrame":
            self._diagram(shape)
        elif getattr(shape, "has_text_frame", False) and shape.has_text_frame:
            self._text(shape.text_frame._txBody, is_title)
        elif (body := shape.element.find(f"{_P}txBody")) is not None:
            self._text(body, is_title)
        self._description(shape)

    def _text(self, body: Any, is_title: bool) -> None:
        paragraphs = list(_paragraphs(body))
        if is_title:
            self._builder.append(ElementKind.HEADING, " ".join(filter(None, (one_line(text) for text, _ in paragraphs))), 1)
            return
        several = sum(bool(text.strip()) for text, _ in paragraphs) > 1
        for text, bulleted in paragraphs:
            self._builder.append(ElementKind.LIST_ITEM if bulleted and several else ElementKind.PARAGRAPH, text)

    def _table(self, table: Any) -> None:
        rows = []
        spans = RowSpans()
        for row in table.rows:
            cells = []
            for column, cell in enumerate(row.cells):
                if cell.is_spanned:
                    cells.append(spans.taken(column))
                    continue
                cells.append(" ".join(one_line(text) for text, _ in _paragraphs(cell._tc.txBody)))
                spans.begin(column, cells[-1], cell.span_height if cell.is_merge_origin else 1)
            rows.append(cells)
        self._builder.table(rows)

    def _diagram(self, shape: Any) -> None:
        for reference in shape.element.iter(f"{{{_DIAGRAM}}}relIds"):
            relationship = str(reference.get(f"{_R}dm"))
            if relationship in self._slide.part.rels:
                part = self._slide.part.related_part(relationship)
                self._builder.append(ElementKind.PARAGRAPH, "\n".join(diagram_texts(read_xml(part.blob))))

    def _description(self, shape: Any) -> None:
        properties = next(iter(shape.element.iter(f"{_P}cNvPr")), None)
        words = one_line(str(properties.get("descr") or "")) if properties is not None else ""
        if len(words.split()) >= _MIN_ALT_WORDS or (
            words and shape.element.tag == f"{_P}pic" and " " not in words and len(words) > 20
        ):
            self._builder.append(ElementKind.CAPTION, words)

    def _notes(self) -> None:
        if self._slide.has_notes_slide and self._slide.notes_slide.notes_text_frame is not None:
            self._builder.append(ElementKind.NOTE, self._slide.notes_slide.notes_text_frame.text)

    def _comments(self) -> None:
        for relationship in self._slide.part.rels.values():
            if relationship.is_external or not relationship.reltype.endswith("/comments"):
                continue
            root = read_xml(relationship.target_part.blob)
            for comment in root.iter():
                if isinstance(comment.tag, str) and comment.tag.endswith(("}cm", "}reply")):
                    self._comment(comment)

    def _comment(self, comment: Any) -> None:
        old = comment.find(f"{_P}text")
        own = [child for child in comment if isinstance(child.tag, str) and child.tag.endswith("}txBody")]
        text = old.text if old is not None else " ".join(part.text or "" for body in own for part in body.iter(f"{_A}t"))
        author = self._authors.get(str(comment.get("authorId")), "unknown")
        if text and text.strip():
            self._builder.warn("comments follow the slide that they were made on")
            self._builder.append(ElementKind.NOTE, f"Comment by {author}: {one_line(text)}")


def _paragraphs(body: Any) -> Iterator[tuple[str, bool]]:
    """Text of each paragraph, and whether a bullet or number stands before it (or it is indented as under one)."""
    for paragraph in body.iter(f"{_A}p"):
        pieces = paragraph.iter(f"{_A}t", f"{_A}br", f"{{{_M}}}t")
        text = "".join("\n" if piece.tag == f"{_A}br" else piece.text or "" for piece in pieces)
        properties = paragraph.find(f"{_A}pPr")
        bulleted = properties is None or properties.find(f"{_A}buNone") is None
        yield text, bulleted


_M = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def _is_hidden(shape: Any) -> bool:
    properties = next(iter(shape.element.iter(f"{_P}cNvPr")), None)
    return properties is not None and properties.get("hidden") in ("1", "true")


def _place(shape: Any, title: Any) -> tuple[int, int, int]:
    """The title first, then from top to bottom in steps of half an inch, then from left to right."""
    if title is not None and shape.shape_id == title.shape_id:
        return (0, 0, 0)
    try:
        return (1, int((shape.top or 0) / 457_200), int(shape.left or 0))
    except _BROKEN:  # its place is that of a placeholder in a layout that is missing
        return (1, 0, 0)


def _authors(presentation: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for relationship in presentation.part.rels.values():
        if not relationship.is_external and relationship.reltype.endswith(("/commentAuthors", "/authors")):
            for author in read_xml(relationship.target_part.blob):
                if isinstance(author.tag, str):
                    found[str(author.get("id"))] = str(author.get("name") or "unknown")
    return found
