"""The SQL catalogue: what is known of every document, version and collection. SQLite by default, PostgreSQL by URL.

The catalogue is the authority on what is live. The vector store holds copies that searching needs; everything in it can be made
again from here. A version moves PENDING → PARSED → EMBEDDED → LIVE → OBSOLETE → forgotten, each step one transaction; any other
step raises StoreError. What replaces a live version takes its place in the transaction that makes it live.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ckllm.contracts import OWNER, Access, Chunk, Document, Rejected, RowSet, Source, VersionState, digest
from ckllm.errors import StoreError, UsageError
from ckllm.store.boxes import pack
from ckllm.store.catalogue_reader import CatalogueReader
from ckllm.store.catalogue_rows import (
    UNFINISHED,
    Begun,
    CollectionRow,
    Failure,
    LiveVersion,
    Parsed,
    StoredVersion,
    check_storable,
    pack_names,
    pack_rows,
    pack_text,
    storable,
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
    row_set_table,
    version_table,
)

__all__ = ["Catalogue", "CollectionRow", "Failure", "LiveVersion", "StoredVersion", "visible"]

_MANY = 500
"""Ids in one statement: SQLite and PostgreSQL both limit the parameters of a statement."""


class Catalogue(CatalogueReader):
    """Raises StoreError when the database does not serve, UnknownDocumentError for ids that do not exist or are not visible."""

    # -- collections

    def create_collection(self, row: CollectionRow) -> None:
        """UsageError when there is one of that name."""
        with self._writing() as connection:
            if self._collection(connection, row.name) is not None:
                raise UsageError(f"there is a collection {row.name!r} already: choose another name")
            values = {"name": row.name, "index_name": row.index, "embedder": row.embedder, "dimension": row.dimension}
            connection.execute(insert(collection_table).values(**values, created=row.created))

    def delete_collection(self, name: str) -> None:
        """Forget a collection and all that is in it; the caller has dropped its index. Nothing happens if there is none."""
        with self._writing() as connection:
            connection.execute(delete(version_table).where(version_table.c.collection == name))
            connection.execute(delete(collection_table).where(collection_table.c.name == name))

    def point_collection(self, name: str, row: CollectionRow) -> None:
        """Serve the collection from another index from now on (`reembed`): index, embedder and dimension of `row`."""
        with self._writing() as connection:
            changed = connection.execute(
                update(collection_table)
                .where(collection_table.c.name == name)
                .values(index_name=row.index, embedder=row.embedder, dimension=row.dimension)
            )
            if changed.rowcount == 0:
                raise UsageError(f"there is no collection {name!r}")

    # -- the life of a version

    def begin(self, collection: str, source: Source, version_id: str, groups: Sequence[str] = ()) -> None:
        """A version is PENDING; an unfinished version of the same document becomes OBSOLETE. Starting again is allowed."""
        self.advance(collection, begun=[Begun(source, version_id, groups)])

    def parsed(self, version_id: str, document: Document, chunks: Sequence[Chunk]) -> None:
        """PENDING → PARSED: text, pages, boxes and chunk spans are stored."""
        self.advance("", parsed=[Parsed(version_id, document, chunks)])

    def advance(self, collection: str, begun: Sequence[Begun] = (), parsed: Sequence[Parsed] = ()) -> None:
        """`begin` and `parsed` of several versions in one transaction."""
        for one in begun:
            check_storable(one.source.uri)
        if begun or parsed:
            with self._writing() as connection:
                for one in begun:
                    self._begin(connection, collection, one)
                for ready in parsed:
                    self._parsed(connection, ready)

    def embedded(self, version_ids: Iterable[str]) -> None:
        """PARSED → EMBEDDED: all chunks have been given to the vector store, perhaps not yet durably."""
        with self._writing() as connection:
            self._move(connection, version_ids, (VersionState.PARSED,), VersionState.EMBEDDED)

    def back_to_parsed(self, version_ids: Iterable[str]) -> None:
        """EMBEDDED → PARSED: the vector store does not have the chunks after all."""
        with self._writing() as connection:
            self._move(connection, version_ids, (VersionState.EMBEDDED,), VersionState.PARSED)

    def go_live(self, version_ids: Iterable[str]) -> None:
        """EMBEDDED → LIVE, and LIVE → OBSOLETE for what they replace, in one transaction."""
        with self._writing() as connection:
            for ids in _batches(version_ids):
                self._move(connection, ids, (VersionState.EMBEDDED,), VersionState.LIVE)
                mine = select(version_table.c.document_id).where(version_table.c.id.in_(ids)).scalar_subquery()
                replaced = (version_table.c.document_id.in_(mine), version_table.c.id.not_in(ids))
                connection.execute(
                    update(version_table)
                    .where(*replaced, version_table.c.state == VersionState.LIVE)
                    .values(state=VersionState.OBSOLETE)
                )
                live = (version_table.c.document_id == document_table.c.id, version_table.c.state == VersionState.LIVE)
                groups = select(version_table.c.groups).where(*live).scalar_subquery()
                settled = {"failed_stage": "", "failed_reason": None, "failed_sha256": ""}
                connection.execute(update(document_table).where(document_table.c.id.in_(mine)).values(groups=groups, **settled))

    def failed(self, collection: str, rejected: Rejected, source_sha256: str = "", groups: Sequence[str] = ()) -> None:
        """Remember why a source was rejected. Its unfinished version becomes OBSOLETE; a live one stays live."""
        uri = storable(rejected.source)
        with self._writing() as connection:
            document_id = digest(collection, uri)
            states = self._states(connection, document_id)
            self._touch_document(connection, collection, uri, groups, states)
            self._drop_unfinished(connection, states, but=None)
            connection.execute(
                update(document_table)
                .where(document_table.c.id == document_id)
                .values(failed_stage=rejected.stage, failed_reason=storable(rejected.reason), failed_sha256=source_sha256)
            )
            connection.execute(delete(attempt_table).where(attempt_table.c.document_id == document_id))
            connection.execute(insert(attempt_table).values(document_id=document_id, groups=pack_names(groups)))

    def settle(self, document_ids: Iterable[str]) -> None:
        """Forget what failed, or was not finished, of documents: their source is again what their live version was made of."""
        with self._writing() as connection:
            for ids in _batches(document_ids):
                mine = (document_table.c.id.in_(ids), _has_live())
                of_mine = version_table.c.document_id.in_(select(document_table.c.id).where(*mine))
                begun = (of_mine, version_table.c.state.in_(UNFINISHED))
                connection.execute(update(version_table).where(*begun).values(state=VersionState.OBSOLETE))
                values = {"failed_stage": "", "failed_reason": None, "failed_sha256": ""}
                connection.execute(update(document_table).where(*mine).values(**values))

    def remove(self, document_ids: Iterable[str], access: Access = OWNER) -> list[str]:
        """Remove documents; their versions become OBSOLETE and are returned. UnknownDocumentError before anything is removed."""
        gone: list[str] = []
        with self._writing() as connection:
            ids = list(dict.fromkeys(document_ids))
            for document_id in ids:
                self._visible_document(connection, document_id, access)
            for batch in _batches(ids):
                mine = version_table.c.document_id.in_(batch)
                gone += connection.execute(select(version_table.c.id).where(mine)).scalars()
                connection.execute(update(version_table).where(mine).values(state=VersionState.OBSOLETE))
                connection.execute(delete(document_table).where(document_table.c.id.in_(batch)))
        return gone

    def forget(self, version_ids: Iterable[str]) -> None:
        """OBSOLETE → gone, after the vector store has dropped the chunks. Versions already forgotten are passed over."""
        with self._writing() as connection:
            for ids in _batches(version_ids):
                rows = connection.execute(
                    select(version_table.c.id, version_table.c.state).where(version_table.c.id.in_(ids))
                ).all()
                _refuse_others(rows, (VersionState.OBSOLETE,), "forgotten")
                connection.execute(delete(version_table).where(version_table.c.id.in_(ids)))

    # -- inside a transaction

    def _begin(self, connection: Connection, collection: str, one: Begun) -> None:
        uri = one.source.uri
        document_id = digest(collection, uri)
        states = self._states(connection, document_id)
        if states.get(one.version_id) == VersionState.LIVE:
            raise StoreError(f"version {one.version_id} of {uri} is LIVE and cannot be begun again")
        self._touch_document(connection, collection, uri, one.groups, states)
        self._drop_unfinished(connection, states, but=one.version_id)
        if one.version_id in states:
            self._drop_content(connection, one.version_id)
            again = update(version_table).where(version_table.c.id == one.version_id)
            connection.execute(again.values(state=VersionState.PENDING, chunk_count=0))
            return
        values = {"id": one.version_id, "document_id": document_id, "collection": collection, "source": uri}
        values |= {"sha256": one.source.sha256, "groups": pack_names(one.groups), "state": VersionState.PENDING}
        connection.execute(insert(version_table).values(**values, created=time.time()))

    def _parsed(self, connection: Connection, one: Parsed) -> None:
        document, version_id = one.document, one.version_id
        pages = [[page.page, page.start, page.end, page.width, page.height] for page in document.pages]
        values = {
            "title": storable(document.title), "lang": document.lang, "media_type": document.media_type,
            "warnings": json.dumps(document.warnings), "chunk_count": len(one.chunks), "page_count": len(pages),
        }  # fmt: skip
        self._move(connection, [version_id], (VersionState.PENDING,), VersionState.PARSED, values)
        content = {"text": pack_text(document.text), "pages": zlib.compress(json.dumps(pages).encode())}
        connection.execute(insert(content_table).values(version_id=version_id, **content))
        if document.boxes is not None:
            for block, data in pack(document.boxes, BLOCK):
                connection.execute(insert(box_table).values(version_id=version_id, block=block, data=data))
        if one.chunks:
            connection.execute(insert(chunk_table), [_chunk_values(version_id, chunk) for chunk in one.chunks])
        if document.row_sets:
            rows = [_row_set_values(version_id, n, row_set) for n, row_set in enumerate(document.row_sets)]
            connection.execute(insert(row_set_table), rows)

    @staticmethod
    def _states(connection: Connection, document_id: str) -> dict[str, str]:
        """State of every version of a document that is not forgotten yet."""
        query = select(version_table.c.id, version_table.c.state).where(version_table.c.document_id == document_id)
        return {row.id: row.state for row in connection.execute(query)}

    @staticmethod
    def _touch_document(
        connection: Connection, collection: str, uri: str, groups: Sequence[str], states: Mapping[str, str]
    ) -> None:
        """Make the document's row if there is none; a live version keeps its groups until another one is live."""
        document_id = digest(collection, uri)
        known = connection.execute(select(document_table.c.groups).where(document_table.c.id == document_id)).first()
        if known is None:
            values = {"id": document_id, "collection": collection, "source": uri, "groups": pack_names(groups)}
            try:
                connection.execute(
                    insert(document_table).values(**values, failed_stage="", failed_sha256="", created=time.time())
                )
            except IntegrityError:
                raise UsageError(f"there is no collection {collection!r}: create it first") from None
        elif VersionState.LIVE not in states.values() and known.groups != pack_names(groups):
            connection.execute(update(document_table).where(document_table.c.id == document_id).values(groups=pack_names(groups)))

    @staticmethod
    def _drop_unfinished(connection: Connection, states: Mapping[str, str], but: str | None) -> None:
        unfinished = [version_id for version_id, state in states.items() if state in UNFINISHED and version_id != but]
        if unfinished:
            connection.execute(
                update(version_table).where(version_table.c.id.in_(unfinished)).values(state=VersionState.OBSOLETE)
            )

    @staticmethod
    def _drop_content(connection: Connection, version_id: str) -> None:
        for table in (content_table, box_table, chunk_table, row_set_table):
            connection.execute(delete(table).where(table.c.version_id == version_id))

    @staticmethod
    def _move(
        connection: Connection,
        version_ids: Iterable[str],
        before: tuple[VersionState, ...],
        after: VersionState,
        values: Mapping[str, object] | None = None,
    ) -> None:
        for ids in _batches(version_ids):
            mine = version_table.c.id.in_(ids)
            moved = update(version_table).where(mine, version_table.c.state.in_(before)).values(state=after, **(values or {}))
            if connection.execute(moved).rowcount == len(ids):
                continue
            rows = connection.execute(select(version_table.c.id, version_table.c.state).where(mine)).all()
            missing = set(ids) - {row.id for row in rows}
            if missing:
                raise StoreError(f"the catalogue knows no version {min(missing)}: it cannot become {after}")
            _refuse_others([row for row in rows if row.state != after], before, str(after))
            raise StoreError(f"version {ids[0]} is {after} already")


def _refuse_others(rows: Sequence[Row[*tuple[Any, ...]]], before: tuple[VersionState, ...], what: str) -> None:
    for row in rows:
        if row[1] not in before:
            raise StoreError(f"version {row[0]} is {row[1]}, and only {' or '.join(before)} can become {what}")


def _has_live() -> ColumnElement[bool]:
    live = (version_table.c.document_id == document_table.c.id, version_table.c.state == VersionState.LIVE)
    return select(version_table.c.id).where(*live).exists()


def _chunk_values(version_id: str, chunk: Chunk) -> dict[str, object]:
    return {
        "version_id": version_id, "ordinal": chunk.ordinal, "chunk_id": chunk.chunk_id, "start": chunk.start, "end": chunk.end,
        "context": storable(chunk.context), "page": chunk.page, "section": storable(chunk.section), "kind": chunk.kind.value,
    }  # fmt: skip


def _row_set_values(version_id: str, ordinal: int, one: RowSet) -> dict[str, object]:
    return {
        "version_id": version_id, "ordinal": ordinal, "start": one.start, "end": one.end, "header": one.header,
        "records": int(one.records), "rows": pack_rows(one),
    }  # fmt: skip


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    everything = list(dict.fromkeys(ids))
    for start in range(0, len(everything), _MANY):
        yield everything[start : start + _MANY]
