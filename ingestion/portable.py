"""A document as a line of an export: everything the catalogue has of a version, as JSON."""

from __future__ import annotations

import base64
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ckllm.contracts import Chunk, Document, ElementKind, PageSpan, RowSet
from ckllm.errors import DataError
from ckllm.store.catalogue import StoredVersion
from ckllm.store.catalogue_rows import storable


@dataclass(frozen=True, slots=True)
class PortableChunk:
    """A span, without the ids that depend on the collection it will be in."""

    start: int
    end: int
    context: str
    page: int | None
    section: str
    kind: ElementKind


@dataclass(frozen=True, slots=True)
class PortableDocument:
    source: str
    sha256: str
    groups: tuple[str, ...]
    version_id: str
    current: bool
    """Made with the settings that the export names, so that ingesting its source again will find it unchanged."""
    document: Document
    chunks: tuple[PortableChunk, ...]


def packed(version: StoredVersion, document: Document, chunks: Sequence[Chunk], *, current: bool) -> dict[str, Any]:
    """Values that `json.dumps` takes."""
    boxes = base64.b64encode(zlib.compress(document.boxes.tobytes(), 1)).decode("ascii") if document.boxes is not None else None
    return {
        "source": version.source, "sha256": version.sha256, "groups": list(version.groups), "version_id": version.version_id,
        "current": current, "title": document.title, "lang": document.lang, "media_type": document.media_type,
        "warnings": list(document.warnings), "text": document.text, "boxes": boxes,
        "pages": [[page.page, page.start, page.end, page.width, page.height] for page in document.pages],
        "row_sets": [[one.start, one.end, list(one.rows), one.header, one.records] for one in document.row_sets],
        "chunks": [[one.start, one.end, one.context, one.page, one.section, one.kind.value] for one in chunks],
    }  # fmt: skip


def unpacked(row: dict[str, Any]) -> PortableDocument:
    """Raises DataError for a row that is not what `packed` makes: spans outside the text, boxes that do not match it."""
    try:
        text = str(row["text"])
        document = Document(
            title=str(row["title"]),
            text=text,
            elements=(),
            pages=tuple(
                PageSpan(int(page), int(start), int(end), float(width), float(height))
                for page, start, end, width, height in row["pages"]
            ),
            boxes=_boxes(row["boxes"], len(text)),
            lang=storable(str(row["lang"])),
            media_type=storable(str(row["media_type"])),
            warnings=tuple(str(warning) for warning in row["warnings"]),
            row_sets=tuple(_row_set(one, len(text)) for one in row.get("row_sets", ())),
        )
        chunks = tuple(
            PortableChunk(
                int(start), int(end), str(context), None if page is None else _page(page), str(section), ElementKind(kind)
            )
            for start, end, context, page, section, kind in row["chunks"]
        )
        if not chunks or any(not 0 <= chunk.start < chunk.end <= len(text) for chunk in chunks):
            raise ValueError("chunks outside the text")
        return PortableDocument(
            source=str(row["source"]),
            sha256=str(row["sha256"]),
            groups=tuple(str(group) for group in row["groups"]),
            version_id=str(row["version_id"]),
            current=bool(row["current"]),
            document=document,
            chunks=chunks,
        )
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
        raise DataError(f"a document in it cannot be read: {type(error).__name__}: {error}") from None


def _page(value: Any) -> int:
    number = int(value)
    if not 0 < number < 1 << 31:
        raise ValueError(f"no page has the number {number}")
    return number


def _row_set(values: Sequence[Any], characters: int) -> RowSet:
    start, end, rows, header, records = values
    made = RowSet(int(start), int(end), tuple(int(row) for row in rows), int(header), bool(records))
    places = (made.start, *made.rows, made.end)
    if not rows or places[0] < 0 or places[-1] > characters or any(after < before for before, after in pairwise(places)):
        raise ValueError("rows outside the text")
    return made


def _boxes(packed_boxes: str | None, characters: int) -> array[float] | None:
    if packed_boxes is None:
        return None
    size = 4 * 4 * characters
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(packed_boxes), size + 1)
    if len(data) != size:
        raise ValueError("boxes that do not match the text")
    return array("f", data)
