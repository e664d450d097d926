"""The reading half of the catalogue: live versions, documents as people see them, texts, boxes. It changes nothing."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from ckllm.contracts import (
    OWNER,
    Access,
    Box,
    Chunk,
    ChunkSpan,
    Document,
    DocumentRow,
    DocumentText,
    ElementKind,
    PageSpan,
    VersionState,
)
from ckllm.errors import StoreError, UnknownDocumentError, UsageError
from ckllm.store.boxes import merge_lines, unpack
from ckllm.store.catalogue_row_sets import RowSetReader
from ckllm.store.catalogue_rows import (
    UNFINISHED,
    CollectionRow,
    Failure,
    LiveVersion,
    StoredVersion,
    unpack_names,
    visible,
)
from ckllm.store.catalogue_schema import (
    BLOCK,
    attempt_table,
    box_table,
    chunk_table,
    collection_table,
    content_table,
    document_table,
    version_table,
)


class CatalogueReader(RowSetReader):
    """What is known. Objects may be shared by threads."""

    def collection(self, name: str) -> CollectionRow | None:
        with self._reading() as connection:
            return self._collection(connection, name)

    def collections(self) -> list[CollectionRow]:
        with self._reading() as connection:
            return [CollectionRow(*row) for row in connection.execute(select(collection_table).order_by(collection_table.c.name))]

    @staticmethod
    def _collection(connection: Connection, name: str) -> CollectionRow | None:
        row = connection.execute(select(collection_table).where(collection_table.c.name == name)).first()
        return None if row is None else CollectionRow(*row)

    # -- what is known

    def live(self, collection: str) -> dict[str, LiveVersion]:
        """Source uri → its live version."""
        columns = (version_table.c.source, version_table.c.document_id, version_table.c.id, version_table.c.sha256)
        where = _of(collection, VersionState.LIVE)
        with self._reading() as connection:
            return {row[0]: LiveVersion(*row[1:]) for row in connection.execute(select(*columns).where(*where))}

    def versions(self, collection: str, *states: VersionState | str) -> list[StoredVersion]:
        """Versions in any of the states (all, when none is given), oldest first."""
        table = version_table.c
        columns = (table.id, table.document_id, table.source, table.title, table.lang, table.sha256, table.groups, table.state)
        query = (
            select(*columns, table.chunk_count, table.created).where(*_of(collection, *states)).order_by(table.created, table.id)
        )
        with self._reading() as connection:
            return [_stored_version(row) for row in connection.execute(query)]

    def hidden_versions(self, collection: str) -> tuple[str, ...]:
        """All versions that are not live: what `Filter.hidden_versions` must hold."""
        query = select(version_table.c.id).where(
            version_table.c.collection == collection, version_table.c.state != VersionState.LIVE
        )
        with self._reading() as connection:
            return tuple(connection.execute(query.order_by(version_table.c.id)).scalars())

    def live_among(self, version_ids: Sequence[str]) -> frozenset[str]:
        """Those of a search's versions that are live now: hits of the others are not to be shown."""
        where = (version_table.c.id.in_(list(version_ids)), version_table.c.state == VersionState.LIVE)
        with self._reading() as connection:
            return frozenset(connection.execute(select(version_table.c.id).where(*where)).scalars())

    def obsolete(self, collection: str) -> list[str]:
        query = select(version_table.c.id).where(*_of(collection, VersionState.OBSOLETE)).order_by(version_table.c.id)
        with self._reading() as connection:
            return list(connection.execute(query).scalars())

    def failures(self, collection: str, access: Access = OWNER) -> list[Failure]:
        """Sources whose last attempt failed, by source: what `documents retry` picks up."""
        table = document_table.c
        columns = (table.id, table.source, table.failed_sha256, table.failed_stage, table.failed_reason, table.groups)
        attempt = attempt_table.c.groups.label("attempted")
        query = select(*columns, attempt).outerjoin(attempt_table, attempt_table.c.document_id == table.id)
        with self._reading() as connection:
            rows = connection.execute(
                query.where(table.collection == collection, table.failed_reason.is_not(None)).order_by(table.source)
            )
            found = [Failure(*row[:5], unpack_names(row.groups), unpack_names(row.attempted or row.groups)) for row in rows]
        return [failure for failure in found if visible(failure.groups, access)]

    def text(self, version_id: str) -> str:
        with self._reading() as connection:
            return self._text(connection, version_id)

    def chunks(self, version_id: str) -> list[Chunk]:
        """Chunks in order, their text cut from the stored text."""
        with self._reading() as connection:
            document_id = connection.execute(select(version_table.c.document_id).where(version_table.c.id == version_id)).scalar()
            text = self._text(connection, version_id)
            rows = connection.execute(
                select(chunk_table).where(chunk_table.c.version_id == version_id).order_by(chunk_table.c.ordinal)
            ).all()
        return [
            Chunk(
                row.chunk_id, document_id or "", version_id, row.ordinal, row.start, row.end, text[row.start : row.end],
                row.context, row.page, row.section, ElementKind(row.kind),
            )
            for row in rows
        ]  # fmt: skip

    def document(self, version_id: str) -> Document:
        """A version as it was parsed, without its elements and attachments: those live on in its chunks."""
        with self._reading() as connection:
            row = connection.execute(select(version_table).where(version_table.c.id == version_id)).first()
            if row is None:
                raise StoreError(f"the catalogue knows no version {version_id}")
            boxes = connection.execute(
                select(box_table.c.data).where(box_table.c.version_id == version_id).order_by(box_table.c.block)
            )
            blocks = boxes.scalars().all()
            row_sets = self._row_sets(connection, version_id)
            text, pages = self._text(connection, version_id), self._pages(connection, version_id)
        return Document(
            title=row.title,
            text=text,
            elements=(),
            pages=pages,
            boxes=array("f", unpack(blocks).tobytes()) if blocks else None,
            lang=row.lang,
            media_type=row.media_type,
            warnings=tuple(json.loads(row.warnings)),
            row_sets=row_sets,
        )

    def boxes(self, version_id: str, start: int, end: int) -> tuple[Box, ...]:
        """Where text[start:end] stands: one rectangle a line, in reading order; none for formats without boxes."""
        if end <= start:
            return ()
        first, last = start // BLOCK, (end - 1) // BLOCK
        mine = (box_table.c.version_id == version_id, box_table.c.block.between(first, last))
        with self._reading() as connection:
            blocks = connection.execute(select(box_table.c.data).where(*mine).order_by(box_table.c.block)).scalars().all()
            if not blocks:
                return ()
            pages = self._pages(connection, version_id)
        offset = start - first * BLOCK
        return merge_lines(unpack(blocks)[offset : offset + end - start], start, pages)

    # -- documents as people see them

    def documents(self, collection: str | None = None, access: Access = OWNER, state: str | None = None) -> list[DocumentRow]:
        """Live, pending and failed documents that are visible, by collection and source.

        `state`: only those of one of the three, in any case; UsageError for another.
        """
        if state is not None and state.upper() not in ("LIVE", "PENDING", "FAILED"):
            raise UsageError(f"there is no state {state[:80]!r}: give live, pending or failed")
        query = select(document_table).order_by(document_table.c.collection, document_table.c.source)
        shown = select(version_table).where(version_table.c.state.in_((VersionState.LIVE, *UNFINISHED)))
        if collection is not None:
            query = query.where(document_table.c.collection == collection)
            shown = shown.where(version_table.c.collection == collection)
        with self._reading() as connection:
            documents = connection.execute(query).all()
            versions: dict[str, Row[*tuple[Any, ...]]] = {}
            for row in connection.execute(shown):
                if row.document_id not in versions or row.state == VersionState.LIVE:
                    versions[row.document_id] = row
        rows = (_document_row(row, versions.get(row.id)) for row in documents if visible(unpack_names(row.groups), access))
        return [row for row in rows if state is None or state.upper() == ("PENDING" if row.state in UNFINISHED else row.state)]

    def document_text(self, document_ids: Sequence[str], access: Access = OWNER) -> list[DocumentText]:
        """The live text of documents, in the order asked, or the reason why there is none. UnknownDocumentError names an id that
        is not visible."""
        with self._reading() as connection:
            return [self._document_text(connection, document_id, access) for document_id in document_ids]

    def _document_text(self, connection: Connection, document_id: str, access: Access) -> DocumentText:
        document = self._visible_document(connection, document_id, access)
        live = connection.execute(
            select(version_table.c.id, version_table.c.title).where(
                version_table.c.document_id == document_id, version_table.c.state == VersionState.LIVE
            )
        ).first()
        if live is None:
            reason = document.failed_reason or "it is still being ingested"
            return DocumentText(document_id, document.source, "", "", (), (), reason)
        spans = connection.execute(
            select(chunk_table.c.chunk_id, chunk_table.c.start, chunk_table.c.end)
            .where(chunk_table.c.version_id == live.id)
            .order_by(chunk_table.c.ordinal)
        )
        chunks = tuple(ChunkSpan(*span) for span in spans)
        text, pages = self._text(connection, live.id), self._pages(connection, live.id)
        return DocumentText(document_id, document.source, live.title, text, pages, chunks)

    @staticmethod
    def _visible_document(connection: Connection, document_id: str, access: Access) -> Row[*tuple[Any, ...]]:
        row = connection.execute(select(document_table).where(document_table.c.id == document_id)).first()
        # one message for both, so that an id tells nothing to those who may not see it
        if row is None or not visible(unpack_names(row.groups), access):
            raise UnknownDocumentError(f"no document {document_id!r}: `ckllm documents list` shows the ids")
        return row

    @staticmethod
    def _text(connection: Connection, version_id: str) -> str:
        data = connection.execute(select(content_table.c.text).where(content_table.c.version_id == version_id)).scalar()
        if data is None:
            raise StoreError(f"version {version_id} has no stored text")
        return zlib.decompress(data).decode("utf-8", "surrogatepass")

    @staticmethod
    def _pages(connection: Connection, version_id: str) -> tuple[PageSpan, ...]:
        data = connection.execute(select(content_table.c.pages).where(content_table.c.version_id == version_id)).scalar()
        return tuple(PageSpan(*page) for page in json.loads(zlib.decompress(data))) if data else ()

    # -- connections


def _of(collection: str, *states: VersionState | str) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [version_table.c.collection == collection]
    return [*where, version_table.c.state.in_(states)] if states else where


def _document_row(row: Row[*tuple[Any, ...]], version: Row[*tuple[Any, ...]] | None) -> DocumentRow:
    groups = unpack_names(row.groups)
    if version is None:
        return DocumentRow(row.id, row.source, "", VersionState.FAILED.value, 0, 0, "", groups, row.collection, row.failed_reason)
    return DocumentRow(
        row.id, row.source, version.title, str(version.state), version.chunk_count, version.page_count, version.lang,
        groups, row.collection, row.failed_reason,
    )  # fmt: skip


def _stored_version(row: Row[*tuple[Any, ...]]) -> StoredVersion:
    return StoredVersion(
        row.id, row.document_id, row.source, row.title, row.lang, row.sha256, unpack_names(row.groups), VersionState(row.state),
        row.chunk_count, row.created,
    )  # fmt: skip
