"""Tables of the catalogue, and how its database is opened: SQLite by default, PostgreSQL by URL.

::

    catalogue_meta   key → value; `schema_version` says who may read the rest
    collection       name → the index it points at (a name in the vector store), embedder, dimension
    document         one a source and collection; remembers the last failure
    failed_attempt   the groups that a document was to have when it failed, where it keeps others meanwhile
    version          one a state of a document: what bytes, what groups, how far it got
    content          text and pages of a version          zlib over UTF-8 and JSON
    box_block        boxes of a version's characters      zlib over float32, BLOCK characters a row
    chunk            spans of a version
    row_set          tables and record sets of a version  zlib over the distances between the starts of their rows
    api_key          hash of a key → its user, groups and right

Text is stored as compressed bytes, not as a text column: PostgreSQL refuses NUL in text, and the text must come back exactly.
SQLite runs in WAL mode with `synchronous=FULL`: a transaction that has returned survives a power cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ckllm.errors import StoreError, UsageError

CATALOGUE_VERSION = 1
"""Raised with every change of the tables; a newer catalogue than the program is refused by name."""

BLOCK = 16_384
"""Characters whose boxes stand in one row: a quote needs one row or two, whatever the document's size."""

BUSY_TIMEOUT_S = 30.0
_ADVISORY_LOCK = 0x636B6C6C6D  # "ckllm": serialises the creation of tables between processes on PostgreSQL

metadata = MetaData()

meta_table = Table("catalogue_meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

collection_table = Table(
    "collection",
    metadata,
    Column("name", String, primary_key=True),
    Column("index_name", String, nullable=False),
    Column("embedder", String, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("created", Float, nullable=False),
)

document_table = Table(
    "document",
    metadata,
    Column("id", String, primary_key=True),
    Column("collection", String, ForeignKey("collection.name", ondelete="CASCADE"), nullable=False),
    Column("source", Text, nullable=False),
    Column("groups", Text, nullable=False),  # JSON array
    Column("failed_stage", String, nullable=False, default=""),
    Column("failed_reason", Text),
    Column("failed_sha256", String, nullable=False, default=""),
    Column("created", Float, nullable=False),
    UniqueConstraint("collection", "source"),
)

attempt_table = Table(
    "failed_attempt",
    metadata,
    Column("document_id", String, ForeignKey("document.id", ondelete="CASCADE"), primary_key=True),
    Column("groups", Text, nullable=False),  # JSON array
)

# No foreign key to document: a removed document's versions stay until the vector store has dropped their chunks.
version_table = Table(
    "version",
    metadata,
    Column("id", String, primary_key=True),
    Column("document_id", String, nullable=False),
    Column("collection", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("groups", Text, nullable=False),  # JSON array
    Column("state", String, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("lang", String, nullable=False, default=""),
    Column("media_type", String, nullable=False, default=""),
    Column("warnings", Text, nullable=False, default="[]"),  # JSON array
    Column("chunk_count", Integer, nullable=False, default=0),
    Column("page_count", Integer, nullable=False, default=0),
    Column("created", Float, nullable=False),
    Index("version_by_document", "document_id", "state"),
    Index("version_by_state", "collection", "state"),
)


def _of_version(*, primary_key: bool = True) -> Column[Any]:
    return Column("version_id", String, ForeignKey("version.id", ondelete="CASCADE"), primary_key=primary_key)


content_table = Table(
    "content",
    metadata,
    _of_version(),
    Column("text", LargeBinary, nullable=False),
    Column("pages", LargeBinary, nullable=False),
)

box_table = Table(
    "box_block",
    metadata,
    _of_version(),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

chunk_table = Table(
    "chunk",
    metadata,
    _of_version(),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("chunk_id", String, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("context", Text, nullable=False),
    Column("page", Integer),
    Column("section", Text, nullable=False),
    Column("kind", String, nullable=False),
)

row_set_table = Table(
    "row_set",
    metadata,
    _of_version(),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("header", Integer, nullable=False),
    Column("records", Integer, nullable=False),  # 1: records that name their own fields
    Column("rows", LargeBinary, nullable=False),
)


key_table = Table(
    "api_key",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("groups", Text, nullable=False),
    Column("right", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
)


def open_engine(url: str) -> Engine:
    """An engine with its pragmas set; nothing is connected yet. UsageError for a URL that SQLAlchemy cannot read."""
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        connect_args = {"connect_timeout": 10} if parsed.get_backend_name() == "postgresql" else {}
        return create_engine(parsed, pool_pre_ping=True, connect_args=connect_args)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            f"the catalogue's URL (store.catalogue) cannot be used: {str(error).splitlines()[0]}; "
            "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None


def _open_sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the catalogue's folder {Path(url.database).parent} cannot be made: {error.strerror}") from None
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that starts as a reader and then writes fails at once when another has written in between; one that
        # takes the write lock first waits for its turn.
        writes = connection.get_execution_options().get("ckllm_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def prepare(connection: Connection, name: str) -> None:
    """Create the tables in an empty database; StoreError when a newer program has written this one."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    metadata.create_all(connection)
    found = connection.execute(select(meta_table.c.value).where(meta_table.c.key == "schema_version")).scalar()
    if found is None:
        connection.execute(insert(meta_table).values(key="schema_version", value=str(CATALOGUE_VERSION)))
    elif found != str(CATALOGUE_VERSION):
        raise StoreError(
            f"the catalogue {name} has schema version {found} and this ckllm knows version {CATALOGUE_VERSION}: "
            "use the ckllm that wrote it, or upgrade this one"
        )
