"""PDF through pdfium: text in reading order with a box for every character; pages without text go to OCR."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse import ocr
from ingestion.parse.attachments import AttachmentWriter
from ingestion.parse.package import is_junk_title
from ingestion.parse.pdf_blocks import PageLines, blocks_of, body_size, boxed_text, drop_furniture, writes_spaces
from ingestion.parse.pdf_glyphs import PageGlyphs, read_glyphs
from ingestion.parse.pdf_layout import lines_of
from ingestion.parse.text import TextBuilder, one_line

_MAX_PAGES = 20_000
_MAX_ATTACHMENT = 100_000_000
_FEW_CHARACTERS = 8
_WIDGET_TYPES = frozenset({3, 20})  # FPDF_ANNOT_FREETEXT, FPDF_ANNOT_WIDGET
_REMARK_TYPES = frozenset({1, 3, 9, 10, 11, 12, 14})  # notes, free text, highlights, underlines, strike-outs, carets
_REPAIR = "copy the file again, or print it to a new PDF"
_OBJECT = re.compile(rb"(\d+)\s+(\d+)\s+obj\b")
_HIDDEN_FLAGS = 0x22  # hidden, not to be viewed
_MAX_ANNOTATIONS = 500
_MAX_REMARK = 10_000


def parse(source: Source, media_type: str, folder: Path) -> Document:
    document = _open(source)
    try:
        builder = TextBuilder(media_type)
        pages = _read_pages(document, builder)
        if drop_furniture(pages):
            builder.warn("repeated page headers, footers and page numbers were left out")
        body, spaces = body_size(pages), writes_spaces(pages)
        for one in pages:
            _add_page(builder, one, body, spaces)
        builder.attachments.extend(_embedded(document, source, folder))
        title = str(document.get_metadata_value("Title") or "").strip()
    finally:
        document.close()
    return builder.build("" if is_junk_title(title) or len(title) < 3 else title, source)


def _open(source: Source) -> Any:
    """The open document. Raises DataError: needs a password, broken, no pages."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    pdfium.FPDF_LoadMemDocument64(b"-", 1, None)  # else the reason of another file's failure may be given for this one
    try:
        try:
            document = pypdfium2.PdfDocument(source.path)
        except pypdfium2.PdfiumError:
            mended = _with_trailer(source.path.read_bytes())
            if not mended:
                raise
            document = pypdfium2.PdfDocument(mended)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise DataError("encrypted: it opens only with a password: save a copy without the password") from error
        if "security" in str(error).lower():
            raise DataError("encrypted: it uses an unsupported security handler (a password or certificate is needed)") from error
        raise DataError(f"broken PDF: {error}: {_REPAIR}") from error
    if not count:
        document.close()
        raise DataError(f"broken PDF: it has no readable pages: {_REPAIR}")
    if count > _MAX_PAGES:
        document.close()
        raise DataError(f"too many pages: it has {count:,}, the limit is {_MAX_PAGES:,}")
    return document


def _with_trailer(data: bytes) -> bytes:
    """A file whose end is lost, with one that names its catalogue, from which pdfium finds the rest; b"" where it has none."""
    if b"trailer" in data or b"/XRef" in data:
        return b""
    for catalogue in re.finditer(rb"/Type\s*/Catalog\b", data):
        if found := _OBJECT.findall(data[max(0, catalogue.start() - 2000) : catalogue.start()]):
            number, generation = found[-1]
            return data + b"\ntrailer\n<< /Root %s %s R >>\nstartxref\n0\n%%%%EOF\n" % (number, generation)
    return b""


def _read_pages(document: Any, builder: TextBuilder) -> list[PageLines]:
    import pypdfium2

    pages: list[PageLines] = []
    broken: list[int] = []
    unread: list[int] = []
    unmapped = 0
    for number in range(1, len(document) + 1):
        try:
            page = document[number - 1]
        except pypdfium2.PdfiumError:
            broken.append(number)
            continue
        glyphs = _read_page(page, number, builder, unread)
        page.close()
        unmapped += glyphs.unmapped
        for why in glyphs.hidden:
            builder.warn(f"hidden text ({why}) was left out")
        pages.append(PageLines(glyphs, lines_of(glyphs)))
    if broken:
        builder.warn(f"pages that cannot be read: {_listed(broken)}")
    if unread:
        builder.warn(f"no text on {_listed(unread)}, only pictures: {ocr.HOW_TO_INSTALL}")
    if unmapped:
        builder.warn(f"{unmapped} characters have no Unicode value in the file")
    if broken and not pages:
        raise DataError(f"broken PDF: none of the pages can be read: {_REPAIR}")
    return pages


def _read_page(page: Any, number: int, builder: TextBuilder, unread: list[int]) -> PageGlyphs:
    """Glyphs of a page: form fields included, from OCR where the page is a picture."""
    import pypdfium2.raw as pdfium

    remarks = list(_remarks(page))
    if _has_fields(page):
        pdfium.FPDFPage_Flatten(page.raw, pdfium.FLAT_NORMALDISPLAY)
        document, index = page.pdf, number - 1
        page.close()
        page = document[index]
    glyphs = read_glyphs(page, number)
    glyphs.remarks = remarks
    visible = sum(glyph.text.isalnum() for glyph in glyphs.glyphs)
    if visible < _FEW_CHARACTERS and ocr.has_pictures(page):
        if ocr.available():
            recognised = ocr.read_page(page, number)
            if recognised.glyphs:
                recognised.remarks = remarks
                builder.warn("pages that are pictures were read by OCR")
                return recognised
        elif not visible:
            unread.append(number)
    return glyphs


def _has_fields(page: Any) -> bool:
    import pypdfium2.raw as pdfium

    for index in range(min(_MAX_ANNOTATIONS, pdfium.FPDFPage_GetAnnotCount(page.raw))):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
        if annotation:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            pdfium.FPDFPage_CloseAnnot(annotation)
            if kind in _WIDGET_TYPES:
                return True
    return False


def _remarks(page: Any) -> Iterator[str]:
    import pypdfium2.raw as pdfium

    for index in range(min(_MAX_ANNOTATIONS, pdfium.FPDFPage_GetAnnotCount(page.raw))):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
        if annotation:
            hidden = pdfium.FPDFAnnot_GetFlags(annotation) & _HIDDEN_FLAGS
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            if kind in _REMARK_TYPES and not hidden and (words := _value(annotation, b"Contents")):
                yield f"Comment by {one_line(_value(annotation, b'T')) or 'unknown'}: {words}"
            pdfium.FPDFPage_CloseAnnot(annotation)


def _value(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as pdfium

    size = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < size <= 2 * _MAX_REMARK:
        return ""
    buffer = ctypes.create_string_buffer(size)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\x00").strip()


def _add_page(builder: TextBuilder, one: PageLines, body: float, spaces: bool) -> None:
    builder.page(one.page.number, one.page.width, one.page.height)
    for block in blocks_of(one.lines, body):
        boxed = boxed_text(block, spaces)
        if block.kind is ElementKind.TABLE:
            builder.boxed_table(boxed.text, boxed.starts, boxed.boxes)
        else:
            builder.append(block.kind, boxed.text, block.level, boxed.boxes)
    shown = one_line(" ".join(line.text for line in one.lines))
    for remark in one.page.remarks:
        if one_line(remark.split(": ", 1)[1]) not in shown:  # free text is drawn on the page as well
            builder.warn("comments stand at the end of their page")
            builder.append(ElementKind.NOTE, remark)


def _embedded(document: Any, source: Source, folder: Path) -> list[Source]:
    """Files embedded in the PDF, as child documents."""
    import pypdfium2

    writer = AttachmentWriter(source, folder)
    try:
        for index in range(min(100, document.count_attachments())):
            attachment = document.get_attachment(index)
            data = bytes(attachment.get_data())
            if len(data) <= _MAX_ATTACHMENT:
                writer.add(attachment.get_name() or "attachment", data)
    except pypdfium2.PdfiumError:
        return writer.sources
    return writer.sources


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:10])
    return f"{'page' if len(numbers) == 1 else 'pages'} {shown}{' …' if len(numbers) > 10 else ''}"
