"""Make the binary sample documents (PDF, DOCX, PPTX, XLSX, EML) from the readable sources in `examples/sources`.

    python examples/make_documents.py [FOLDER]      default: examples/documents

A source's name says what it becomes: `handbook.pdf.md` becomes `handbook.pdf`. Sources are a small part of Markdown:
headings, paragraphs, lists, tables and, as a subtitle, one block quote. The same sources always give the same files:
no clock, no random numbers, fixed dates in every container. Documents that are text anyway (Markdown, HTML, TXT, CSV)
lie in `examples/documents` as they are.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
DOCUMENTS = HERE / "documents"
PUBLISHED = datetime(2025, 4, 1, tzinfo=UTC)
AUTHOR = "ckllm examples"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a source. `kind`: h1, h2, h3, subtitle, paragraph, list or table."""

    kind: str
    lines: tuple[str, ...]

    @property
    def rows(self) -> list[list[str]]:
        """Cells of a table, header row first."""
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in self.lines]
        return rows[:1] + rows[2:]

    @property
    def items(self) -> list[str]:
        return [line.removeprefix("- ") for line in self.lines]


def read_blocks(source: Path) -> Iterator[Block]:
    prefixes = {"### ": "h3", "## ": "h2", "# ": "h1", "> ": "subtitle", "- ": "list", "|": "table"}
    for part in source.read_text(encoding="utf-8").strip().split("\n\n"):
        lines = tuple(part.strip().split("\n"))
        kind = next((name for prefix, name in prefixes.items() if lines[0].startswith(prefix)), "paragraph")
        if kind in ("h1", "h2", "h3", "subtitle"):
            lines = (lines[0].split(" ", 1)[1],)
        yield Block(kind, lines)


# ------------------------------------------------------------------------------------------------ PDF


def make_pdf(source: Path, target: Path) -> None:
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import SimpleDocTemplate

    blocks = list(read_blocks(source))
    title = blocks[0].lines[0]

    def frame(canvas: Canvas, template: SimpleDocTemplate) -> None:
        canvas.setTitle(title)
        canvas.setAuthor(AUTHOR)
        canvas.setFont("Helvetica", 8)
        canvas.drawString(25 * mm, A4[1] - 15 * mm, title)
        canvas.line(25 * mm, A4[1] - 17 * mm, A4[0] - 25 * mm, A4[1] - 17 * mm)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, f"Page {template.page}")

    margins = {"leftMargin": 25 * mm, "rightMargin": 25 * mm, "topMargin": 24 * mm, "bottomMargin": 22 * mm}
    template = SimpleDocTemplate(str(target), pagesize=A4, lang="en", invariant=1, **margins)
    template.build(_flowables(blocks, template.width), onFirstPage=frame, onLaterPages=frame)


def _flowables(blocks: list[Block], width: float) -> list[object]:
    from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
    from reportlab.platypus import ListFlowable, Paragraph, Spacer

    sheet = getSampleStyleSheet()
    body = ParagraphStyle("text", parent=sheet["BodyText"], fontSize=11, leading=16, spaceAfter=6)
    styles = {"h1": sheet["Title"], "h2": sheet["Heading1"], "h3": sheet["Heading2"], "subtitle": sheet["Italic"]}
    story: list[object] = []
    for block in blocks:
        if block.kind == "list":
            entries = [Paragraph(_escaped(item), body) for item in block.items]
            story += [ListFlowable(entries, bulletType="bullet", start="•"), Spacer(1, 6)]
        elif block.kind == "table":
            story += [_pdf_table(block.rows, width), Spacer(1, 12)]
        else:
            story.append(Paragraph(_escaped(" ".join(block.lines)), styles.get(block.kind, body)))
    return story


def _pdf_table(rows: list[list[str]], width: float) -> object:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, Table, TableStyle

    cell = ParagraphStyle("cell", fontName="Helvetica", fontSize=9, leading=12)
    head = ParagraphStyle("head", parent=cell, fontName="Helvetica-Bold")
    cells = [[Paragraph(_escaped(text), cell if index else head) for text in row] for index, row in enumerate(rows)]
    longest = [min(40, max(10, *(len(row[column]) for row in rows))) for column in range(len(rows[0]))]
    table = Table(cells, colWidths=[width * length / sum(longest) for length in longest], repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


# ------------------------------------------------------------------------------------------------ Office


def make_docx(source: Path, target: Path) -> None:
    from docx import Document

    document = Document()
    properties = document.core_properties
    properties.author, properties.created, properties.modified = AUTHOR, PUBLISHED, PUBLISHED
    for block in read_blocks(source):
        if block.kind in ("h1", "h2", "h3"):
            document.add_heading(block.lines[0], level=int(block.kind[1]) - 1)
            properties.title = properties.title or block.lines[0]
        elif block.kind == "list":
            for item in block.items:
                document.add_paragraph(item, style="List Bullet")
        elif block.kind == "table":
            table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
        else:
            document.add_paragraph(" ".join(block.lines), style="Subtitle" if block.kind == "subtitle" else None)
    _save_without_clock(document.save, target)


def make_pptx(source: Path, target: Path) -> None:
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    properties = deck.core_properties
    properties.author, properties.created, properties.modified = AUTHOR, PUBLISHED, PUBLISHED
    for block in read_blocks(source):
        if block.kind == "h1":
            slide = deck.slides.add_slide(deck.slide_layouts[1 if deck.slides else 0])
            slide.shapes.title.text = block.lines[0]
            properties.title = properties.title or block.lines[0]
        elif block.kind == "table":
            slide.placeholders[1].element.getparent().remove(slide.placeholders[1].element)
            shape = slide.shapes.add_table(len(block.rows), len(block.rows[0]), Inches(0.6), Inches(1.8), Inches(8.8), Inches(3))
            for y, row in enumerate(block.rows):
                for x, text in enumerate(row):
                    shape.table.cell(y, x).text = text
        else:
            slide.placeholders[1].text = "\n".join(block.items)
    _save_without_clock(deck.save, target)


def make_xlsx(source: Path, target: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(target) as book:
        book.set_properties({"author": AUTHOR, "title": source.name.split(".")[0], "created": PUBLISHED.replace(tzinfo=None)})
        bold = book.add_format({"bold": True})
        for block in read_blocks(source):
            if block.kind == "h1":
                sheet = book.add_worksheet(block.lines[0])
                continue
            for y, row in enumerate(block.rows):
                for x, text in enumerate(row):
                    if text.replace(".", "", 1).isdigit():
                        sheet.write_number(y, x, float(text))
                    else:
                        sheet.write_string(y, x, text, None if y else bold)


def _save_without_clock(save: Callable[[io.BytesIO], None], target: Path) -> None:
    """Save a zip container with every member's time set to the first moment that zip knows."""
    buffer = io.BytesIO()
    save(buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)


# ------------------------------------------------------------------------------------------------ mail


def make_eml(source: Path, target: Path) -> None:
    """Headers, an empty line, the text; an `Attach:` header names a file beside the source."""
    head, _, text = source.read_text(encoding="utf-8").partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    attachment = source.parent / headers.pop("Attach")
    message = EmailMessage()
    for name, entry in headers.items():
        message[name] = entry
    message.set_content(text)
    message.add_attachment(attachment.read_text(encoding="utf-8"), subtype="csv", filename=attachment.name)
    message.set_boundary("=====ckllm-example=====")
    target.write_bytes(message.as_bytes())


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    ".pdf": make_pdf,
    ".docx": make_docx,
    ".pptx": make_pptx,
    ".xlsx": make_xlsx,
    ".eml": make_eml,
}


def make_all(folder: Path) -> list[Path]:
    """Make every document under `folder`, in the subfolders of the sources; returns what was made."""
    made = []
    for source in sorted(SOURCES.rglob("*.md")):
        target = folder / source.relative_to(SOURCES).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        MAKERS[target.suffix](source, target)
        made.append(target)
    return made


if __name__ == "__main__":
    for path in make_all(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS):
        print(path)
