"""Tables of the service, in the catalogue's database. They are made where they are missing; nothing else reads them.

Text that people or documents wrote is stored as compressed JSON, not as a text column: PostgreSQL refuses NUL in text.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from ckllm.store.catalogue_schema import metadata

job_table = Table(
    "service_job",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("collection", String, nullable=False),
    Column("groups", Text, nullable=False),  # JSON array
    Column("sources", LargeBinary, nullable=False),  # [[name, path or URL], …]
    Column("state", String, nullable=False, index=True),
    Column("cancelled", Integer, nullable=False, default=0),  # somebody wants it to end
    Column("progress", LargeBinary, nullable=False),
    Column("report", LargeBinary),
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
)

conversation_table = Table(
    "conversation",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("title", LargeBinary, nullable=False),
    Column("collection", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Index("conversation_by_user", "user", "updated"),
)

turn_table = Table(
    "conversation_turn",
    metadata,
    Column("conversation_id", String, ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("answer", LargeBinary, nullable=False),  # the JSON of `ask`
    Column("created", Float, nullable=False),
)

feedback_table = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("rating", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),  # comment, correction, answer
    Column("created", Float, nullable=False),
)

audit_table = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False, index=True),
    Column("user", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("address", String, nullable=False),
    Column("method", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", String, nullable=False),
    Column("request_id", String, nullable=False),
)


def packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value).encode("ascii"), 1)


def unpacked(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))
