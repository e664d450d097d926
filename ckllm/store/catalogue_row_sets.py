"""Tables and record sets of live documents, as the catalogue has them."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Sequence

from sqlalchemy import Connection, and_, select

from ckllm.contracts import Access, Chunk, ElementKind, RowSet, VersionState
from ckllm.store.catalogue_rows import Rowed, RowedText, unpack_names, unpack_rows, visible
from ckllm.store.catalogue_schema import chunk_table, content_table, document_table, row_set_table, version_table
from ckllm.store.database import Database


class RowSetReader(Database):
    """What is asked of the catalogue where a question is answered from rows."""

    def rowed(self, version_ids: Sequence[str], access: Access) -> list[Rowed]:
        """Those of the versions that are live, visible to `access`, and have row sets; in the order given."""
        table = version_table.c
        columns = (table.id, table.document_id, table.source, table.title, table.lang, table.media_type)
        query = select(*columns, table.warnings, document_table.c.groups).join(
            document_table, document_table.c.id == table.document_id
        )
        query = query.where(table.id.in_(list(version_ids)), table.state == VersionState.LIVE)
        with self._reading() as connection:
            rows = connection.execute(query).all()
            counts = row_set_table.c.version_id
            having = set(connection.execute(select(counts).where(counts.in_([row.id for row in rows])).distinct()).scalars())
        found = {
            row.id: Rowed(*row[:6], tuple(json.loads(row.warnings)))
            for row in rows
            if row.id in having and visible(unpack_names(row.groups), access)
        }
        return [found[one] for one in dict.fromkeys(version_ids) if one in found]

    def beside(self, rowed: Rowed, start: str, access: Access) -> list[tuple[str, Rowed | None]]:
        """Documents of the same collection, visible to `access`, whose source begins with `start`; None for those without a live
        version. Rowed or not, what has a live version is given.
        """
        table, document = version_table.c, document_table.c
        columns = (table.id, table.document_id, table.source, table.title, table.lang, table.media_type)
        live = and_(table.document_id == document.id, table.state == VersionState.LIVE)
        mine = select(table.collection).where(table.id == rowed.version_id).scalar_subquery()
        query = select(*columns, table.warnings, document.source.label("place"), document.groups)
        query = query.select_from(document_table.outerjoin(version_table, live))
        query = query.where(document.collection == mine, document.source.startswith(start, autoescape=True))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(document.source)).all()
        return [
            (row.place, None if row.id is None else Rowed(*row[:6], tuple(json.loads(row.warnings))))
            for row in rows
            if visible(unpack_names(row.groups), access)
        ]

    def rowed_text(self, version_id: str) -> RowedText | None:
        """Text, row sets and the spans of its chunks, read as of one moment; None where the version is gone by now."""
        with self._reading() as connection:
            content = select(content_table.c.text).where(content_table.c.version_id == version_id)
            data = connection.execute(content).scalar()
            row_sets = self._row_sets(connection, version_id)
            spans = connection.execute(
                select(chunk_table.c.start, chunk_table.c.ordinal)
                .where(chunk_table.c.version_id == version_id)
                .order_by(chunk_table.c.ordinal)
            ).all()
        if data is None or not spans:
            return None
        return RowedText(zlib.decompress(data).decode("utf-8", "surrogatepass"), row_sets, tuple(span.start for span in spans))

    def chunks_at(self, rowed: Rowed, content: RowedText, offsets: Sequence[int]) -> list[Chunk]:
        """For each offset the last chunk that starts at or before it."""
        ordinals = [max(0, bisect_right(content.chunk_starts, offset) - 1) for offset in offsets]
        mine = (chunk_table.c.version_id == rowed.version_id, chunk_table.c.ordinal.in_(sorted(set(ordinals))))
        with self._reading() as connection:
            rows = {row.ordinal: row for row in connection.execute(select(chunk_table).where(*mine))}
        return [
            Chunk(
                row.chunk_id, rowed.document_id, rowed.version_id, row.ordinal, row.start, row.end,
                content.text[row.start : row.end], row.context, row.page, row.section, ElementKind(row.kind),
            )
            for row in (rows[ordinal] for ordinal in ordinals if ordinal in rows)
        ]  # fmt: skip

    @staticmethod
    def _row_sets(connection: Connection, version_id: str) -> tuple[RowSet, ...]:
        query = select(row_set_table).where(row_set_table.c.version_id == version_id).order_by(row_set_table.c.ordinal)
        return tuple(
            RowSet(one.start, one.end, unpack_rows(one.start, one.rows), one.header, bool(one.records))
            for one in connection.execute(query)
        )
