"""What users think of answers, kept with question, evidence and answer: rows to train and to evaluate with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select

from ckllm.service.caller import Caller
from ckllm.service.tables import feedback_table, packed, unpacked
from ckllm.store.database import Database

_ROWS = 200


class Feedback(Database):
    def add(self, caller: Caller, rating: int, content: Mapping[str, Any]) -> str:
        """Store; the id."""
        values = {"id": uuid4().hex, "user": caller.user, "rating": rating, "content": packed(dict(content))}
        with self._writing() as connection:
            connection.execute(insert(feedback_table).values(**values, created=time.time()))
        return str(values["id"])

    def rows(self) -> Iterator[list[dict[str, Any]]]:
        """Everything, the oldest first, some at a time."""
        after, last = 0.0, ""
        table = feedback_table.c
        while True:
            later = (table.created > after) | ((table.created == after) & (table.id > last))
            query = select(feedback_table).where(later).order_by(table.created, table.id).limit(_ROWS)
            with self._reading() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            after, last = rows[-1].created, rows[-1].id
            yield [
                {"id": row.id, "user": row.user, "created": row.created, "rating": row.rating, **unpacked(row.content)}
                for row in rows
            ]


def documents_of(row: Mapping[str, Any]) -> set[str]:
    """Ids of the documents that a row quotes."""
    answer = row.get("answer") or {}
    return {str(one["document_id"]) for part in ("citations", "evidence") for one in answer.get(part, ())}
