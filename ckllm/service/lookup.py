"""One document by its id, with what belongs to it; nothing for those who may not see it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select

from ckllm.contracts import Access, DocumentRow, VersionState
from ckllm.errors import UnknownDocumentError
from ckllm.store.catalogue_rows import UNFINISHED, storable, unpack_names, visible
from ckllm.store.catalogue_schema import document_table, version_table
from ckllm.store.database import Database

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Known:
    """A document's row, and of its live version the bytes' hash and type; "" where none is live."""

    row: DocumentRow
    sha256: str
    media_type: str


class Lookup(Database):
    """Reads the catalogue's tables."""

    def document(self, document_id: str, access: Access) -> Known:
        """UnknownDocumentError, the same for what does not exist and what is not visible."""
        if not _ID.fullmatch(document_id):
            raise UnknownDocumentError(f"no document {document_id[:64]!r}")
        states = (VersionState.LIVE, *UNFINISHED)
        with self._reading() as connection:
            row = connection.execute(select(document_table).where(document_table.c.id == document_id)).first()
            if row is None or not visible(unpack_names(row.groups), access):
                raise UnknownDocumentError(f"no document {document_id!r}")
            versions = connection.execute(
                select(version_table).where(version_table.c.document_id == document_id, version_table.c.state.in_(states))
            ).all()
        groups = unpack_names(row.groups)
        shown = next((one for one in versions if one.state == VersionState.LIVE), versions[0] if versions else None)
        if shown is None:
            failed = DocumentRow(row.id, row.source, "", "FAILED", 0, 0, "", groups, row.collection, row.failed_reason)
            return Known(failed, "", "")
        live = shown.state == VersionState.LIVE
        return Known(
            DocumentRow(
                row.id, row.source, shown.title, str(shown.state), shown.chunk_count, shown.page_count, shown.lang, groups,
                row.collection, row.failed_reason,
            ),
            shown.sha256 if live else "",
            shown.media_type if live else "",
        )  # fmt: skip

    def groups_of(self, collection: str, source: str) -> list[tuple[str, ...]]:
        """Groups of each document that comes from a source, whoever may see it: the source itself, and members of an archive."""
        own, members = storable(source), storable(source) + "!/"
        mine = or_(document_table.c.source == own, document_table.c.source.startswith(members, autoescape=True))
        query = select(document_table.c.source, document_table.c.groups).where(document_table.c.collection == collection, mine)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        # SQLite's LIKE does not tell upper from lower case
        return [unpack_names(row.groups) for row in rows if row.source == own or row.source.startswith(members)]

    def taken(self, collection: str, source: str, access: Access) -> bool:
        """Whether a document that comes from a source is out of the caller's sight."""
        return not all(visible(groups, access) for groups in self.groups_of(collection, source))

    def among(self, document_ids: Collection[str], access: Access) -> set[str]:
        """Those of the ids that the caller may see."""
        found: set[str] = set()
        ids = list(document_ids)
        with self._reading() as connection:
            for start in range(0, len(ids), 500):
                query = select(document_table.c.id, document_table.c.groups).where(
                    document_table.c.id.in_(ids[start : start + 500])
                )
                found |= {row.id for row in connection.execute(query) if visible(unpack_names(row.groups), access)}
        return found

    def collections(self, access: Access) -> list[str]:
        """Names of the collections that hold something that the caller may see."""
        query = select(document_table.c.collection, document_table.c.groups).distinct()
        with self._reading() as connection:
            rows: Sequence[tuple[str, str]] = [tuple(row) for row in connection.execute(query)]
        return sorted({collection for collection, groups in rows if visible(unpack_names(groups), access)})
