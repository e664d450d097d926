"""Legacy PowerPoint presentations (97 to 2003), read after [MS-PPT]: slides in order, their text boxes and notes.

The document's live parts are found through the chain of user edits and their persist directories (2.1.2), so that text of
earlier saves, which stays in the file, is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.text import TextBuilder

_CURRENT_USER_ENCRYPTED = 0xF3D1C4DF
_DOCUMENT, _SLIDE, _NOTES, _LIST, _SLIDE_PERSIST = 1000, 1006, 1008, 4080, 1011
_USER_EDIT, _PERSIST, _NOTES_ATOM = 4085, 6002, 1009
_HEADER, _CHARACTERS, _BYTES, _REFERENCE, _TEXT_BOX = 3999, 4000, 4008, 3998, 0xF00D
_TITLES, _NOTES_TEXT = (0, 6), 2
_MAX_EDITS = 1000
_MAX_DEPTH = 30


@dataclass(frozen=True, slots=True)
class _Record:
    kind: int
    instance: int
    data: bytes
    is_container: bool


@dataclass(slots=True)
class _Slide:
    persist: int
    slide_id: int
    texts: list[tuple[int, str]] = field(default_factory=list)
    """Kind and text of its placeholders, kept in the document's outline."""


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    import olefile

    with olefile.OleFileIO(source.path) as container:
        stream = container.openstream("PowerPoint Document").read()
        user = container.openstream("Current User").read() if container.exists("Current User") else b""
        encrypted = container.exists("EncryptedSummary") or container.exists("EncryptedSummaryInformation")
    if encrypted or (len(user) >= 16 and struct.unpack_from("<I", user, 12)[0] == _CURRENT_USER_ENCRYPTED):
        raise DataError("encrypted with a password: save a copy without the password")
    builder = TextBuilder(media_type)
    try:
        _add_slides(builder, stream, struct.unpack_from("<I", user, 16)[0])
    except (struct.error, KeyError, IndexError) as error:
        if not builder.empty:
            builder.warn("the file is damaged: the text may not be complete")
        else:
            raise DataError(f"broken presentation: {error}") from error
    return builder.build("", source)


def _add_slides(builder: TextBuilder, stream: bytes, last_edit: int) -> None:
    offsets, document_id = _persist_directory(stream, last_edit)
    document = _record(stream, offsets[document_id])
    slides, notes = _slide_lists(document)
    said = dict(_notes_by_slide(stream, [offsets[one.persist] for one in notes if one.persist in offsets]))
    for number, slide in enumerate(slides, start=1):
        builder.page(number)
        if slide.persist in offsets:
            for kind, text in _ordered(list(_shape_texts(_record(stream, offsets[slide.persist]), slide.texts, 0)), slide.texts):
                _add_text(builder, kind, text)
        builder.append(ElementKind.NOTE, said.get(slide.slide_id, ""))


def _add_text(builder: TextBuilder, kind: int, text: str) -> None:
    text = text.replace("\x0b", "\n")
    if kind in _TITLES:
        builder.append(ElementKind.HEADING, " ".join(text.replace("\r", " ").split()), 1)
        return
    paragraphs = [paragraph for paragraph in text.split("\r") if paragraph.strip()]
    for paragraph in paragraphs:
        builder.append(ElementKind.LIST_ITEM if len(paragraphs) > 1 else ElementKind.PARAGRAPH, paragraph)


def _ordered(texts: list[tuple[int, str]], outline: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The title first; placeholders that no shape refers to are added."""
    missing = [one for one in outline if one not in texts]
    return sorted([*texts, *missing], key=lambda one: one[0] not in _TITLES)


def _records(data: bytes) -> Iterator[_Record]:
    position = 0
    while position + 8 <= len(data):
        record = _record(data, position)
        yield record
        position += 8 + len(record.data)


def _record(data: bytes, offset: int) -> _Record:
    version, kind, length = struct.unpack_from("<HHI", data, offset)
    return _Record(kind, version >> 4, data[offset + 8 : offset + 8 + length], version & 0xF == 0xF)


def _persist_directory(stream: bytes, edit: int) -> tuple[dict[int, int], int]:
    """Offsets of the live objects by their id, and the document's id. The latest edit wins."""
    offsets: dict[int, int] = {}
    document = -1
    for _ in range(_MAX_EDITS):
        record = _record(stream, edit)
        if record.kind != _USER_EDIT:
            break
        previous, directory, document_id = struct.unpack_from("<III", record.data, 8)
        document = document_id if document < 0 else document
        entries = _record(stream, directory).data
        position = 0
        while position + 4 <= len(entries):
            head = struct.unpack_from("<I", entries, position)[0]
            first, count = head & 0xFFFFF, head >> 20
            for index, offset in enumerate(struct.unpack_from(f"<{count}I", entries, position + 4)):
                offsets.setdefault(first + index, offset)
            position += 4 + 4 * count
        if not previous or previous >= edit:
            break
        edit = previous
    return offsets, document


def _slide_lists(document: _Record) -> tuple[list[_Slide], list[_Slide]]:
    """The slides with the outline's texts, and the notes pages."""
    lists: dict[int, list[_Slide]] = {0: [], 1: [], 2: []}
    for record in _records(document.data):
        if record.kind == _LIST and record.instance in lists:
            found, kind = lists[record.instance], 4
            for one in _records(record.data):
                if one.kind == _SLIDE_PERSIST:
                    found.append(_Slide(struct.unpack_from("<I", one.data)[0], struct.unpack_from("<I", one.data, 12)[0]))
                elif one.kind == _HEADER:
                    kind = struct.unpack_from("<I", one.data)[0]
                elif one.kind in (_CHARACTERS, _BYTES) and found:
                    found[-1].texts.append((kind, _text(one)))
    return lists[0], lists[2]


def _text(record: _Record) -> str:
    return record.data.decode("utf-16-le" if record.kind == _CHARACTERS else "latin-1", "replace")


def _shape_texts(record: _Record, outline: list[tuple[int, str]], depth: int) -> Iterator[tuple[int, str]]:
    """Kind and text of every text box below a record."""
    if depth > _MAX_DEPTH:
        return
    for one in _records(record.data):
        if one.kind == _TEXT_BOX:
            yield from _box_texts(one, outline)
        elif one.is_container:
            yield from _shape_texts(one, outline, depth + 1)


def _box_texts(box: _Record, outline: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    kind = 4
    for one in _records(box.data):
        if one.kind == _HEADER:
            kind = struct.unpack_from("<I", one.data)[0]
        elif one.kind in (_CHARACTERS, _BYTES):
            yield kind, _text(one)
        elif one.kind == _REFERENCE:
            index = struct.unpack_from("<I", one.data)[0]
            if index < len(outline):
                yield outline[index]


def _notes_by_slide(stream: bytes, offsets: list[int]) -> Iterator[tuple[int, str]]:
    for offset in offsets:
        page = _record(stream, offset)
        slide = next((struct.unpack_from("<I", one.data)[0] for one in _records(page.data) if one.kind == _NOTES_ATOM), 0)
        texts = [text.replace("\r", "\n") for kind, text in _shape_texts(page, [], 0) if kind == _NOTES_TEXT]
        if slide and texts:
            yield slide, "\n".join(texts)
