"""Answers as OpenAI's objects, with the extension fields.

In a stream, `delta.content` is the verified answer, sentence by sentence: its pieces together are the answer. What the model
writes before it is verified is never in `content`; a client that wants to show that something happens asks for it
(`"draft": true`) and gets it in `delta.draft`, with the passages and the route on chunks before it.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ckllm.contracts import Answer, Done, Event, Retrieved, Routed, Token


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion that is being answered."""

    id: str
    model: str
    created: int

    @classmethod
    def new(cls, model: str) -> Completion:
        return cls(f"chatcmpl-{uuid4().hex}", model, int(time.time()))

    def whole(self, done: Done) -> dict[str, Any]:
        answer = done.answer
        choice = {
            "index": 0, "message": {"role": "assistant", "content": answer.answer, "refusal": None}, "logprobs": None,
            "finish_reason": _reason(done),
        }  # fmt: skip
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(answer), **extensions(answer)}

    def first(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""})

    def draft(self, event: Event) -> dict[str, Any] | None:
        """What a client that follows the draft is told of an event."""
        if isinstance(event, Retrieved):
            return {**self._chunk({}), "evidence": [entry.as_json() for entry in event.evidence]}
        if isinstance(event, Routed):
            return {**self._chunk({}), "route": event.route.as_json()}
        return self._chunk({"draft": event.text}) if isinstance(event, Token) else None

    def verified(self, done: Done, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The answer's chunks, then the one with `finish_reason`, then usage where it is asked for."""
        answer = done.answer
        for piece in pieces(answer):
            yield self._chunk({"content": piece})
        last = {**self._chunk({}), "usage": usage(answer), **extensions(answer)}
        last["choices"][0]["finish_reason"] = _reason(done)
        yield last
        if include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(answer), "citations": last["citations"]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}


def _reason(done: Done) -> str:
    return "length" if done.cut_off else "stop"


def usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.usage.prompt_tokens, answer.usage.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def extensions(answer: Answer) -> dict[str, Any]:
    """Everything of the JSON of `ask` that OpenAI's object has no place for; `reason` is always there."""
    row = answer.as_json()
    kept = {key: value for key, value in row.items() if key not in ("id", "answer", "usage")}
    return {"reason": None, **kept}


def pieces(answer: Answer) -> list[str]:
    """The answer cut where its sentences begin, nothing lost; `"".join(pieces(a)) == a.answer`."""
    cuts = sorted({0, len(answer.answer), *(sentence.start for sentence in answer.sentences[1:])})
    return [answer.answer[start:end] for start, end in itertools.pairwise(cuts)]


def event_bytes(value: dict[str, Any] | str) -> bytes:
    """A server-sent event. JSON has no raw line ends, so that one line holds it; ASCII, so that no client can misread it."""
    data = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    return f"data: {data}\n\n".encode("ascii")
