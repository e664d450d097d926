"""Conversations, kept in the catalogue's database. Each is its user's alone, whatever rights others have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ckllm import from_json
from ckllm.contracts import Access, Answer, Message
from ckllm.service.caller import Caller
from ckllm.service.errors import HttpError
from ckllm.service.nouns import Conversation, ConversationTurn
from ckllm.service.tables import conversation_table, packed, turn_table, unpacked
from ckllm.store.database import Database

LISTED = 500
HISTORY = 10
"""Turns that a new question is understood with."""
TURNS = 1000
"""In one conversation."""
TITLE = 80
Visible = Callable[[set[str], Access], set[str]]
"""Those of the document ids that may be seen."""


class Conversations(Database):
    def create(self, caller: Caller, title: str, collection: str) -> Conversation:
        now = time.time()
        values = {"id": uuid4().hex, "user": caller.user, "title": packed(title), "collection": collection}
        with self._writing() as connection:
            connection.execute(insert(conversation_table).values(**values, created=now, updated=now))
            return _conversation(self._mine(connection, str(values["id"]), caller))

    def listed(self, caller: Caller) -> list[Conversation]:
        """The last used first, without turns."""
        table = conversation_table.c
        query = select(conversation_table).where(table.user == caller.user).order_by(table.updated.desc()).limit(LISTED)
        with self._reading() as connection:
            return [_conversation(row) for row in connection.execute(query)]

    def get(self, conversation_id: str, caller: Caller, visible: Visible) -> Conversation:
        """With its turns. An answer that rests on a document that the caller may no longer see is withheld."""
        mine = turn_table.c.conversation_id == conversation_id
        with self._reading() as connection:
            row = self._mine(connection, conversation_id, caller)
            rows = connection.execute(select(turn_table).where(mine).order_by(turn_table.c.number)).all()
        turns = [ConversationTurn("", from_json.answer(unpacked(turn.answer)), turn.created) for turn in rows]
        seen = visible({one for turn in turns for one in _documents(turn.answer)}, caller.access)
        shown = tuple(
            ConversationTurn(turn.answer.question, turn.answer if _documents(turn.answer) <= seen else None, turn.created)
            for turn in turns
            if turn.answer is not None
        )
        return _conversation(row, shown)

    def rename(self, conversation_id: str, caller: Caller, title: str) -> Conversation:
        with self._writing() as connection:
            self._mine(connection, conversation_id, caller)
            where = conversation_table.c.id == conversation_id
            connection.execute(update(conversation_table).where(where).values(title=packed(title), updated=time.time()))
            return _conversation(self._mine(connection, conversation_id, caller))

    def delete(self, conversation_id: str, caller: Caller) -> None:
        with self._writing() as connection:
            self._mine(connection, conversation_id, caller)
            connection.execute(delete(turn_table).where(turn_table.c.conversation_id == conversation_id))
            connection.execute(delete(conversation_table).where(conversation_table.c.id == conversation_id))

    def shorten(self, conversation_id: str, caller: Caller, keep: int) -> None:
        """Drop the turns after the first `keep`."""
        mine = turn_table.c.conversation_id == conversation_id
        with self._writing() as connection:
            self._mine(connection, conversation_id, caller)
            numbers = select(turn_table.c.number).where(mine).order_by(turn_table.c.number)
            gone = list(connection.execute(numbers).scalars())[keep:]
            connection.execute(delete(turn_table).where(mine, turn_table.c.number.in_(gone)))

    def append(self, conversation_id: str, caller: Caller, answer: Answer) -> None:
        """Add a turn; the first question becomes the title where there is none."""
        mine = turn_table.c.conversation_id == conversation_id
        with self._writing() as connection:
            row = self._mine(connection, conversation_id, caller)
            number = (connection.execute(select(func.max(turn_table.c.number)).where(mine)).scalar() or 0) + 1
            if number > TURNS:
                raise HttpError(
                    409, "conversation_full", f"the conversation has {TURNS} turns: begin another one", "conversation"
                )
            values = {"conversation_id": conversation_id, "number": number, "answer": packed(answer.as_json())}
            connection.execute(insert(turn_table).values(**values, created=time.time()))
            title = unpacked(row.title) or " ".join(answer.question.split())[:TITLE]
            where = conversation_table.c.id == conversation_id
            connection.execute(update(conversation_table).where(where).values(title=packed(title), updated=time.time()))

    @staticmethod
    def _mine(connection: Connection, conversation_id: str, caller: Caller) -> Row[*tuple[Any, ...]]:
        """HttpError 404, the same for what does not exist and what is another user's."""
        row = connection.execute(select(conversation_table).where(conversation_table.c.id == conversation_id)).first()
        if row is None or row.user != caller.user:
            raise HttpError(404, "unknown_conversation", "there is no conversation of that id", "conversation")
        return row


def history(conversation: Conversation) -> tuple[Message, ...]:
    """The last turns as messages; of a withheld answer, the question alone."""
    messages: list[Message] = []
    for turn in conversation.turns[-HISTORY:]:
        messages.append(Message("user", turn.question))
        if turn.answer is not None:
            messages.append(Message("assistant", turn.answer.answer))
    return tuple(messages)


def _documents(answer: Answer | None) -> set[str]:
    if answer is None:
        return set()
    return {one.document_id for one in answer.citations} | {one.hit.document_id for one in answer.evidence}


def _conversation(row: Row[*tuple[Any, ...]], turns: tuple[ConversationTurn, ...] = ()) -> Conversation:
    return Conversation(row.id, unpacked(row.title), row.collection, row.created, row.updated, turns)
