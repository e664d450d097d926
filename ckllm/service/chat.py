"""`POST /v1/chat/completions`: questions in OpenAI's form, answers with citations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from ckllm.contracts import Done, Event, Message
from ckllm.errors import CkllmError
from ckllm.service.caller import Caller, reader
from ckllm.service.completion import Completion, event_bytes
from ckllm.service.conversations import history
from ckllm.service.errors import Json, envelope, problem_of
from ckllm.service.events import Events
from ckllm.service.leaving import unless_gone
from ckllm.service.schemas import ChatBody

if TYPE_CHECKING:
    from ckllm.asking import AskOptions
    from ckllm.service.core import Core
    from ckllm.service.nouns import Conversation


def router(core: Core) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/chat/completions", tags=["chat"], response_model=None)
    async def complete(body: ChatBody, request: Request, caller: Annotated[Caller, Depends(reader)]) -> Response:
        """One verified, cited answer to the last message; the messages before it are the conversation so far."""
        spoken = await core.work(_conversation, core, body, caller)
        turns = (*(history(spoken) if spoken else ()), *body.history)
        options = await core.work(options_of, core, body, caller, turns)
        collection = body.collection or (spoken.collection if spoken else "main")
        base = await core.work(core.visible, collection, caller)
        completion = Completion.new(body.model)
        events = _kept(core, caller, body.conversation, core.stream(caller, base, body.question, options))
        try:
            first = await unless_gone(request, _first(events))
            if body.stream:
                served = _served(completion, body, caller, first, events)
                return Events(served, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
            done = await unless_gone(request, _drained(first, events))
        except BaseException:
            await events.aclose()
            raise
        return Json(completion.whole(done))

    return routes


def options_of(core: Core, body: ChatBody, caller: Caller, history: tuple[Message, ...]) -> AskOptions:
    """The body's fields as those of `KnowledgeBase.ask`. HttpError 404 for an unknown model."""
    expert = core.expert_of(body.model)
    if body.experts:
        expert = core.expert_of(",".join(body.experts))
    return {
        "expert": "base" if body.only_base else expert,
        "k": body.k,
        "user": caller.access,
        "where": body.where,
        "history": history,
        "top_experts": body.top_experts,
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "temperature": body.temperature,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "top_k": body.top_k or 0,
        "repetition_penalty": 1.0 if body.repetition_penalty is None else body.repetition_penalty,
        "stop": body.stops,
        "seed": body.seed,
    }


def _conversation(core: Core, body: ChatBody, caller: Caller) -> Conversation | None:
    return core.conversations().get(body.conversation, caller, core.seen) if body.conversation else None


async def _kept(
    core: Core, caller: Caller, conversation: str | None, events: AsyncGenerator[Event | None, None]
) -> AsyncGenerator[Event | None, None]:
    """The events; the answer is counted, and added to its conversation, before it is handed on."""
    try:
        async for event in events:
            if isinstance(event, Done):
                core.metrics.answered(event.answer)
                if conversation:
                    await core.work(core.conversations().append, conversation, caller, event.answer)
            yield event
    except CkllmError as error:
        core.metrics.failed(error)
        raise
    finally:
        await events.aclose()


async def _first(events: AsyncIterator[Event | None]) -> Event:
    while (event := await anext(events)) is None:
        pass
    return event


async def _drained(first: Event, events: AsyncIterator[Event | None]) -> Done:
    event: Event | None = first
    while not isinstance(event, Done):
        event = await anext(events)
    return event


async def _served(
    completion: Completion, body: ChatBody, caller: Caller, first: Event, events: AsyncGenerator[Event | None, None]
) -> AsyncGenerator[bytes, None]:
    """The stream's bytes. An error after the first event is told in the stream, which then ends without [DONE]."""
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    event: Event | None = first
    try:
        yield event_bytes(completion.first())
        while not isinstance(event, Done):
            if event is None:
                yield b": still at work\n\n"
            elif body.draft and (chunk := completion.draft(event)):
                yield event_bytes(chunk)
            event = await anext(events)
        for chunk in completion.verified(event, include_usage=include_usage):
            yield event_bytes(chunk)
        yield event_bytes("[DONE]")
    except CkllmError as error:
        yield event_bytes(envelope(problem_of(error, trusted=caller.trusted)))
    finally:
        await events.aclose()
