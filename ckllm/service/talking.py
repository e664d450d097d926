"""Conversations and feedback over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field, field_validator
from starlette.responses import Response, StreamingResponse

from ckllm import from_json
from ckllm.contracts import Access
from ckllm.service.caller import Caller, administrator, reader
from ckllm.service.conversations import TURNS
from ckllm.service.errors import Json
from ckllm.service.feedback import documents_of
from ckllm.service.nouns import Conversation
from ckllm.service.schemas import Body, Name, shallow

if TYPE_CHECKING:
    from ckllm.service.core import Core

Reader = Annotated[Caller, Depends(reader)]
Administrator = Annotated[Caller, Depends(administrator)]


class NewConversation(Body):
    title: str = Field("", max_length=200, description="empty: the first question")
    collection: Name = "main"


class Renamed(Body):
    title: str = Field(min_length=1, max_length=200)


class FeedbackBody(Body):
    rating: int = Field(ge=-1, le=1, description="1 good, -1 bad, 0 neither")
    answer: dict[str, Any] = Field(description="the answer, as `ask` and the extension fields of a completion have it")
    comment: str = Field("", max_length=10_000)
    correction: str = Field("", max_length=10_000, description="what the answer should have been")

    _shallow_answer = field_validator("answer", mode="before")(shallow)

    @field_validator("answer")
    @classmethod
    def _readable(cls, answer: dict[str, Any]) -> dict[str, Any]:
        """Kept is what was understood, nothing else that a client may have put in."""
        try:
            kept = from_json.answer(answer).as_json()
            json.dumps(kept, allow_nan=False)
            return kept
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ValueError("is not an answer: send it as the service has given it") from None


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["conversations"])
    _conversations(core, routes)

    @routes.post("/v1/feedback", response_model=None, status_code=201)
    async def feedback(body: FeedbackBody, caller: Reader) -> Response:
        """Say what an answer was worth."""
        content = {"comment": body.comment, "correction": body.correction, "answer": body.answer}
        return Json({"id": await core.work(core.feedback().add, caller, body.rating, content)}, 201)

    @routes.get("/v1/feedback/export", response_model=None)
    async def export(caller: Administrator) -> Response:
        """JSON Lines, one a piece of feedback; those that quote documents that the caller may not see are left out."""
        return StreamingResponse(_exported(core, caller.access), media_type="application/x-ndjson")

    return routes


def _conversations(core: Core, routes: APIRouter) -> None:
    @routes.get("/v1/conversations", response_model=None)
    async def listed(caller: Reader) -> Response:
        """The caller's own, the last used first."""
        found = await core.work(core.conversations().listed, caller)
        return Json({"conversations": [_row(one) for one in found]})

    @routes.post("/v1/conversations", response_model=None, status_code=201)
    async def create(body: NewConversation, caller: Reader) -> Response:
        """A new conversation: name its `id` as `conversation` in chat completions."""
        return Json(_row(await core.work(core.conversations().create, caller, body.title, body.collection)), 201)

    @routes.get("/v1/conversations/{conversation_id}", response_model=None)
    async def one(conversation_id: str, caller: Reader) -> Response:
        """With its turns; `answer` is null where it rests on a document that the caller may no longer see."""
        return Json(_whole(await core.work(core.conversations().get, conversation_id, caller, core.seen)))

    @routes.patch("/v1/conversations/{conversation_id}", response_model=None)
    async def rename(conversation_id: str, body: Renamed, caller: Reader) -> Response:
        return Json(_row(await core.work(core.conversations().rename, conversation_id, caller, body.title)))

    @routes.delete("/v1/conversations/{conversation_id}/turns", response_model=None)
    async def shorten(conversation_id: str, caller: Reader, keep: Annotated[int, Query(ge=0, le=TURNS)]) -> Response:
        """Drop the turns after the first `keep`: a question is asked again in another way."""
        await core.work(core.conversations().shorten, conversation_id, caller, keep)
        return Json({"kept": keep})

    @routes.delete("/v1/conversations/{conversation_id}", response_model=None)
    async def delete(conversation_id: str, caller: Reader) -> Response:
        await core.work(core.conversations().delete, conversation_id, caller)
        return Json({"deleted": conversation_id})


def _row(found: Conversation) -> dict[str, Any]:
    return {
        "id": found.id, "title": found.title, "collection": found.collection, "created": found.created, "updated": found.updated,
    }  # fmt: skip


def _whole(found: Conversation) -> dict[str, Any]:
    turns = [
        {"question": turn.question, "answer": turn.answer.as_json() if turn.answer else None, "created": turn.created}
        for turn in found.turns
    ]
    return {**_row(found), "turns": turns}


def _exported(core: Core, access: Access) -> Iterator[bytes]:
    for rows in core.feedback().rows():
        seen = core.seen({one for row in rows for one in documents_of(row)}, access)
        for row in rows:
            if documents_of(row) <= seen:
                yield json.dumps({"question": row["answer"]["question"], **row}).encode("ascii") + b"\n"
