"""Parsing in the test's own process, and what must hold of every document."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.detect import detect
from ingestion.parse.formats import parse

MAX_BYTES = 100_000_000


def source_of(path: Path, claimed: str = "") -> Source:
    data = path.read_bytes()
    return Source(str(path), path, len(data), hashlib.sha256(data).hexdigest(), claimed)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(path: Path) -> Document:
    """Detect and parse, and check the document's promises."""
    source = source_of(path)
    document = parse(source, detect(source, MAX_BYTES), path.parent / "attachments")
    check(document)
    return document


def check(document: Document) -> None:
    """Spans are slices in order that do not overlap; pages too; one box a character; no character that nobody wants."""
    text, end = document.text, 0
    assert document.elements
    assert document.title.strip()
    assert not any("\ud800" <= character <= "\udfff" or character == "\0" for character in text)
    for element in document.elements:
        assert end <= element.start < element.end <= len(text)
        assert text[element.start : element.end].strip()
        assert all(element.start <= row < element.end for row in element.rows)
        assert (element.level > 0) == (element.kind is ElementKind.HEADING)
        end = element.end
    end = 0
    for page in document.pages:
        assert end <= page.start <= page.end <= len(text)
        end = page.end
    for element in document.elements:
        if element.page is not None:
            (page,) = [page for page in document.pages if page.page == element.page]
            assert page.start <= element.start and element.end <= page.end
    if document.boxes is not None:
        assert len(document.boxes) == 4 * len(text)


def texts(document: Document, kind: ElementKind) -> list[str]:
    return [document.text[one.start : one.end] for one in document.elements if one.kind is kind]
