"""Bodies of requests. What is not named here is ignored where OpenAI's clients send it, and refused elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ckllm.asking import QUESTION_LIMIT
from ckllm.contracts import Message

_DEPTH = 16
Name = Annotated[str, Field(min_length=1, max_length=200)]
Where = Annotated[str, Field(max_length=4000)] | dict[str, Any]
K = Annotated[int, Field(ge=1, le=1000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _deep(value: Any, left: int = _DEPTH) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_deep(one, left - 1) for one in inside)


def shallow(value: Any) -> Any:
    if _deep(value):
        raise ValueError(f"is nested more than {_DEPTH} deep")
    return value


class SearchBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "how often are filters backwashed", "k": 5}]})

    query: str = Field(min_length=1, max_length=QUESTION_LIMIT)
    k: K | None = None
    collection: Name = "main"
    where: Where = Field("", description='a condition, e.g. \'lang == "hi" and page >= 2\' or {"lang": "hi"}')

    _shallow_where = field_validator("where", mode="before")(shallow)


class RouteBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"question": "Write a function that sorts a list"}]})

    question: str = Field(min_length=1, max_length=QUESTION_LIMIT)


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """One message; `name`, `refusal` and the like are ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @field_validator("content", mode="before")
    @classmethod
    def _of_text(cls, content: Any) -> Any:
        parts = content if isinstance(content, list) else []
        if other := next((part["type"] for part in parts if isinstance(part, dict) and part.get("type", "text") != "text"), None):
            raise ValueError(f"has a part of type {str(other)[:40]!r}: only text is read")
        return content

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)

    @property
    def message(self) -> Message:
        return Message("system" if self.role == "developer" else self.role, self.text)


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(BaseModel):
    """OpenAI's chat completion; the fields after `stream_options` are this service's own."""

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {"model": "ckllm", "messages": [{"role": "user", "content": "How long must the chlorine contact time be?"}]},
                {"model": "base", "messages": [{"role": "user", "content": "And in winter?"}], "stream": True, "draft": True},
            ]
        },
    )

    model: str = Field("ckllm", max_length=1000, description="ckllm: routed by the question; base; or an expert's name")
    messages: list[Turn] = Field(min_length=1, max_length=1000)
    stream: bool = False
    max_tokens: int | None = Field(None, ge=1, le=100_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=100_000)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: str | list[str] | None = Field(None, description="at most 16 texts")
    seed: int | None = Field(None, ge=0, lt=2**31)
    n: int | None = Field(None, ge=1, le=1, description="one answer a request")
    stream_options: StreamOptions | None = None

    collection: Name | None = Field(None, description="the conversation's, else main")
    k: K | None = Field(None, description="passages offered to the model")
    where: Where = Field("", description="a condition on the documents")
    top_experts: int = Field(1, ge=1, le=16, description="mix so many of the nearest experts")
    experts: list[Name] | None = Field(None, max_length=16, description="answer with these experts, mixed")
    only_base: bool = Field(False, description="answer with the base model alone")
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    conversation: str | None = Field(None, max_length=64, description="id of a conversation: its turns are the history")
    draft: bool = Field(False, description="in a stream, also send unverified words as they are written, in `delta.draft`")

    _shallow_where = field_validator("where", mode="before")(shallow)

    @field_validator("stop")
    @classmethod
    def _few(cls, stop: str | list[str] | None) -> str | list[str] | None:
        given = [stop] if isinstance(stop, str) else stop or []
        if len(given) > 16 or any(not text or len(text) > 1000 for text in given):
            raise ValueError("give at most 16 texts of 1 to 1000 characters")
        return stop

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> ChatBody:
        if self.messages[-1].role != "user":
            raise ValueError("the last of messages must be the user's: it is the question")
        return self

    @property
    def question(self) -> str:
        return self.messages[-1].text

    @property
    def history(self) -> tuple[Message, ...]:
        return tuple(turn.message for turn in self.messages[:-1])

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
