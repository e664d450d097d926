"""DOCX, read from its XML: body, tables, lists with their numbers, text boxes, formulas, notes, comments, headers and footers.

Left out: tracked deletions, hidden text (both flagged), field codes, pictures but for their descriptions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.attachments import AttachmentWriter
from ingestion.parse.decode import decode
from ingestion.parse.docx_styles import Styles, W, is_on
from ingestion.parse.docx_tree import (
    MC,
    TRANSPARENT,
    chosen,
    header_rows,
    in_box,
    in_fallback,
    inside,
    on_colour,
    outermost,
    symbol,
)
from ingestion.parse.drawing import chart_texts, diagram_texts
from ingestion.parse.html import add_html, read_html
from ingestion.parse.omml import math_text
from ingestion.parse.package import Package, Relationship
from ingestion.parse.text import TextBuilder, one_line

_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_CANVAS = "{http://schemas.openxmlformats.org/drawingml/2006/lockedCanvas}"
_V = "{urn:schemas-microsoft-com:vml}"
_WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DELETED = (f"{W}del", f"{W}moveFrom")
_PLAIN = {f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-", f"{W}ptab": "\t"}
_DOCUMENTS = (".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".doc", ".xls", ".ppt", ".pdf")
_MIN_ALT_WORDS = 3
_HIDDEN = "hidden text (invisible to a reader) was left out"


def parse(source: Source, media_type: str, folder: Path) -> Document:
    with Package(source) as package:
        main = next(package.related("", "officeDocument"), "word/document.xml")
        builder = TextBuilder(media_type)
        if any(part.lower().endswith("vbaproject.bin") for part in package.parts):
            builder.warn("macros were ignored")
        story = _Story(builder, package, main)
        body = story.root.find(f"{W}body")
        if body is None:
            raise DataError("broken document: it has no body")
        story.blocks(body)
        story.flush_floats()
        _add_notes(story, "comments", "comment")
        _add_headers(story)
        writer = AttachmentWriter(source, folder)
        for name, data in [*story.attachments, *_embedded(package)]:
            writer.add(name, data)
        builder.attachments.extend(writer.sources)
        return builder.build(package.title(), source)


def _embedded(package: Package) -> Iterator[tuple[str, bytes]]:
    """Documents within the document; the workbooks of charts are not among them, whose numbers are in the text."""
    charts = [part for part in package.parts if part.startswith("word/charts/")]
    drawn = {target for chart in charts for target in package.related(chart, "package")}
    for part in package.parts:
        if part.startswith("word/embeddings/") and part not in drawn and part.endswith(_DOCUMENTS):
            yield part.rsplit("/", 1)[-1], package.read(part)


class _Story:
    """One part with text: the body, a header, the notes."""

    def __init__(self, builder: TextBuilder, package: Package, part: str, main: _Story | None = None) -> None:
        self.builder = builder
        self.package = package
        self.part = part
        self.root = package.xml(part)
        self.relationships: dict[str, Relationship] = package.relationships(part)
        self.styles: Styles = main.styles if main else Styles.read(package, part)
        self._floats: list[tuple[ElementKind, Any]] = []
        self._notes: dict[str, dict[str, Any]] = (
            main._notes if main else {kind: _notes_of(package, part, kind) for kind in ("footnote", "endnote")}
        )
        self._depth = 0
        self.attachments: list[tuple[str, bytes]] = []

    # ------------------------------------------------------------------------------------------ blocks

    def blocks(self, parent: Any) -> None:
        """Append the paragraphs and tables below `parent`."""
        for child in parent:
            tag = child.tag
            if tag == f"{W}p":
                self._paragraph(child)
                self.flush_floats()
            elif tag == f"{W}tbl":
                self._table(child)
                self.flush_floats()
            elif tag in _DELETED:
                self.builder.warn("tracked deletions were left out")
            elif tag == f"{MC}AlternateContent":
                self.blocks(chosen(child))
            elif tag in TRANSPARENT:
                self.blocks(child)
            elif tag in (f"{_M}oMathPara", f"{_M}oMath"):
                self.builder.append(ElementKind.PARAGRAPH, math_text(child))
            elif tag == f"{W}altChunk":
                self._inserted(str(child.get(f"{_R}id")))

    def _paragraph(self, paragraph: Any) -> None:
        properties = paragraph.find(f"{W}pPr")
        text = self.words(paragraph)
        if not text.strip():
            return
        numbering = self.styles.numbering(properties)
        kind, level = self.styles.kind(properties, numbering is not None)
        number = self.styles.number(numbering) if numbering else ""
        if number and kind is not ElementKind.CODE:
            text = f"{number} {text.strip()}"
        self.builder.append(kind, text, level)

    def _inserted(self, relationship_id: str) -> None:
        """Append a file that is inserted as it stands, to be converted by the program that opens the document."""
        relationship = self.relationships.get(relationship_id)
        if relationship is None or relationship.external or relationship.target not in self.package:
            return
        data, name = self.package.read(relationship.target), relationship.target.lower()
        if name.endswith((".html", ".htm", ".xhtml")):
            add_html(self.builder, read_html(data))
        elif name.endswith(".txt"):
            self.builder.append(ElementKind.PARAGRAPH, decode(data)[0])
        else:
            self.attachments.append((relationship.target.rsplit("/", 1)[-1], data))

    def flush_floats(self) -> None:
        """Append what was met inside the last paragraph or table: text boxes, captions, notes."""
        waiting, self._floats = self._floats, []
        self._depth += 1
        for kind, content in waiting:
            if isinstance(content, str):
                self.builder.append(kind, content)
            elif self._depth < 20:
                self.blocks(content)
        self._depth -= 1

    # ------------------------------------------------------------------------------------------ text

    def words(self, paragraph: Any) -> str:
        """The text of a paragraph that is not hidden by its style; what floats beside it is kept for `flush_floats`."""
        text = "".join(self._pieces(paragraph))
        if text.strip() and self.styles.hidden(paragraph.find(f"{W}pPr")):
            self.builder.warn(_HIDDEN)
            return ""
        return text

    def _pieces(self, parent: Any) -> Iterator[str]:
        for child in parent:
            tag = child.tag
            if tag == f"{W}r":
                if not self._is_hidden(child):
                    yield from self._pieces(child)
            elif tag == f"{W}t":
                yield child.text or ""
            elif tag in _PLAIN:
                yield "" if child.get(f"{W}type") in ("page", "column") else _PLAIN[tag]
            elif tag in _DELETED:
                self.builder.warn("tracked deletions were left out")
            elif tag in (f"{_M}oMath", f"{_M}oMathPara"):
                yield f" {math_text(child)} "
            elif tag in (f"{W}footnoteReference", f"{W}endnoteReference"):
                self._reference(child)
            elif tag == f"{W}sym":
                yield symbol(child)
            elif tag == f"{MC}AlternateContent":
                yield from self._pieces(chosen(child))
            elif tag == f"{W}drawing" or tag in (f"{W}pict", f"{W}object"):
                self._drawing(child)
            elif tag in TRANSPARENT:
                yield from self._pieces(child)

    def _is_hidden(self, run: Any) -> bool:
        properties = run.find(f"{W}rPr")
        if properties is None:
            return False
        style = properties.find(f"{W}rStyle")
        styled = style is not None and any(one.hidden for one in self.styles.chain(str(style.get(f"{W}val"))))
        size, colour = properties.find(f"{W}sz"), properties.find(f"{W}color")
        tiny = size is not None and str(size.get(f"{W}val")) in ("0", "1", "2")
        white = colour is not None and str(colour.get(f"{W}val")).upper() == "FFFFFF" and not on_colour(run, properties)
        hidden = styled or is_on(properties.find(f"{W}vanish")) or tiny or white
        if hidden and any((text.text or "").strip() for text in run.iter(f"{W}t")):
            self.builder.warn(_HIDDEN)
        return hidden

    def _reference(self, reference: Any) -> None:
        kind = "footnote" if reference.tag.endswith("footnoteReference") else "endnote"
        note = self._notes[kind].pop(str(reference.get(f"{W}id")), None)
        if note is not None:
            text = "\n".join(filter(None, (self.words(one).strip() for one in note.iter(f"{W}p"))))
            self._floats.append((ElementKind.NOTE, text))

    def _drawing(self, drawing: Any) -> None:
        boxes = [box for box in drawing.iter(f"{W}txbxContent") if not in_fallback(box, drawing) and outermost(box, drawing)]
        self._floats.extend((ElementKind.PARAGRAPH, box) for box in boxes)
        for properties in drawing.iter(f"{_WP}docPr"):
            words = one_line(str(properties.get("descr") or ""))
            if len(words.split()) >= _MIN_ALT_WORDS:
                self._floats.append((ElementKind.CAPTION, words))
        for words in (one.get("string") for one in drawing.iter(f"{_V}textpath")):
            self._floats.append((ElementKind.PARAGRAPH, str(words or "")))
        for canvas in drawing.iter(f"{_CANVAS}lockedCanvas"):
            self._floats.extend(
                (ElementKind.PARAGRAPH, "".join(one.text or "" for one in paragraph.iter(f"{_A}t")))
                for paragraph in canvas.iter(f"{_A}p")
            )
        for reference in drawing.iter():
            if isinstance(reference.tag, str) and reference.tag.endswith("}chart"):
                self._related(str(reference.get(f"{_R}id")), chart_texts)
            elif isinstance(reference.tag, str) and reference.tag.endswith("}relIds"):
                self._related(str(reference.get(f"{_R}dm")), diagram_texts)

    def _related(self, relationship_id: str, reader: Any) -> None:
        relationship = self.relationships.get(relationship_id)
        if relationship and not relationship.external and relationship.target in self.package:
            lines = reader(self.package.xml(relationship.target))
            self._floats.append((ElementKind.PARAGRAPH, "\n".join(lines)))

    # ------------------------------------------------------------------------------------------ tables

    def _table(self, table: Any) -> None:
        rows = [row for row in inside(table, f"{W}tr") if self._is_shown(row)]
        cells = [list(inside(row, f"{W}tc")) for row in rows]
        if max(map(len, cells), default=0) <= 1 or any(cell.find(f".//{W}tbl") is not None for row in cells for cell in row):
            for row in cells:  # a frame around text, or a layout of tables
                for cell in row:
                    self.blocks(cell)
            return
        self.builder.table(self._rows(cells), header_rows(rows))

    def _is_shown(self, row: Any) -> bool:
        if is_on(row.find(f"{W}trPr/{W}hidden")):
            self.builder.warn(_HIDDEN)
            return False
        return row.find(f"{W}trPr/{W}del") is None

    def _rows(self, cells: list[list[Any]]) -> Iterator[list[str]]:
        above: dict[int, str] = {}
        for row in cells:
            line: list[str] = []
            for cell in row:
                properties = cell.find(f"{W}tcPr")
                column = len(line)
                merge = properties.find(f"{W}vMerge") if properties is not None else None
                if merge is not None and merge.get(f"{W}val", "continue") == "continue":
                    text = above.get(column, "")
                else:
                    text = " ".join(
                        filter(None, (one_line(self.words(one)) for one in cell.iter(f"{W}p") if not in_box(one, cell)))
                    )
                above[column] = text
                span = properties.find(f"{W}gridSpan") if properties is not None else None
                width = str(span.get(f"{W}val", "1")) if span is not None else "1"
                line.extend([text] + [""] * (min(int(width), 100) - 1 if width.isdigit() else 0))
            while line and not line[-1]:
                line.pop()
            yield line


def _notes_of(package: Package, part: str, kind: str) -> dict[str, Any]:
    """Foot- or endnotes by id, without the separators."""
    return {
        str(note.get(f"{W}id")): note
        for target in package.related(part, f"{kind}s")
        for note in package.xml(target).iter(f"{W}{kind}")
        if note.get(f"{W}type") in (None, "normal")
    }


def _add_notes(main: _Story, relation: str, tag: str) -> None:
    """Comments, each with its author, at the end: a reader of the file sees them, but they are not the document's own words."""
    for part in main.package.related(main.part, relation):
        story = _Story(main.builder, main.package, part, main)
        for comment in story.root.iter(f"{W}{tag}"):
            text = "\n".join(filter(None, (story.words(one).strip() for one in comment.iter(f"{W}p"))))
            if text:
                main.builder.warn("comments stand at the end of the text")
                main.builder.append(
                    ElementKind.NOTE, f"Comment by {one_line(str(comment.get(f'{W}author') or 'unknown'))}: {text}"
                )


def _add_headers(main: _Story) -> None:
    """Page headers and footers, each different one once, at the end."""
    seen: set[str] = set()
    for relation in ("header", "footer"):
        for part in main.package.related(main.part, relation):
            story = _Story(main.builder, main.package, part, main)
            for paragraph in story.root.iter(f"{W}p"):
                text = one_line(story.words(paragraph))
                if any(character.isalpha() for character in text) and text not in seen:
                    seen.add(text)
                    main.builder.append(ElementKind.NOTE, text)
