"""Pictures: read by OCR where Tesseract is installed."""

from __future__ import annotations

from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse import ocr
from ingestion.parse.text import TextBuilder

_READABLE = frozenset({"image/png", "image/jpeg", "image/tiff", "image/bmp", "image/webp", "image/gif"})


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    if media_type not in _READABLE:
        raise DataError(f"no text: it is a picture of a kind that cannot be read ({media_type})")
    if not ocr.available():
        raise DataError(f"no text: it is a picture: {ocr.HOW_TO_INSTALL}")
    builder = TextBuilder(media_type)
    builder.page(1)
    text = "".join(glyph.text for glyph in ocr.read_image(source.path).glyphs)
    for paragraph in text.split("\n\n"):
        builder.append(ElementKind.PARAGRAPH, paragraph)
    builder.warn("the picture was read by OCR")
    return builder.build("", source)
