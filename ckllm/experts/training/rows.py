"""Training rows from JSON Lines, and what the model reads of them.

A row is `{"messages": [{"role", "content"}, …]}` whose last turn is the assistant's, or `{"prompt", "response"}` (or
`"completion"`); `"source"` names the document that it was made from, `"weight"` how much it counts (1 where it is left out).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ckllm.contracts import Message
from ckllm.errors import DataError
from ckllm.experts.training.packing import Example
from ckllm.json_lines import read_objects


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation and the reply to learn."""

    messages: tuple[Message, ...]
    response: str
    source: str
    weight: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """The form that `read_rows` takes."""
        turns = [{"role": m.role, "content": m.content} for m in (*self.messages, Message("assistant", self.response))]
        return {"messages": turns, "source": self.source, "weight": self.weight}


class ChatTokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    eos_token: str

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any: ...

    def encode(self, text: str, **options: Any) -> list[int]: ...


def read_rows(file: Path) -> tuple[list[Row], str]:
    """The rows of a file and the SHA-256 of its bytes. Raises DataError with the line's number for a row that is not one."""
    rows, sha256 = read_rows_with_fields(file)
    return [row for row, _ in rows], sha256


def read_rows_with_fields(file: Path) -> tuple[list[tuple[Row, Mapping[str, Any]]], str]:
    """As `read_rows`, each row with everything that its line says."""
    objects, sha256 = read_objects(file)
    if not objects:
        raise DataError(f"{file} holds no rows: one JSON object a line is expected")
    return [(_row(value, where), value) for value, where in objects], sha256


def _row(value: dict[str, Any], where: str) -> Row:
    if "messages" in value:
        turns = _turns(value["messages"], where)
        if turns[-1].role != "assistant" or len(turns) < 2:
            raise DataError(f"{where}: the last of at least two messages must be the assistant's, it is what is learned")
        messages, response = turns[:-1], turns[-1].content
    else:
        messages, response = (Message("user", _text(value, ("prompt",), where)),), _text(value, ("response", "completion"), where)
    if not response.strip():
        raise DataError(f"{where}: the response is empty")
    weight = value.get("weight", 1.0)
    if not isinstance(weight, (int, float)) or isinstance(weight, bool) or weight <= 0:
        raise DataError(f"{where}: weight = {weight!r}: a number above 0 is expected")
    source = value.get("source")
    return Row(messages, response, source if isinstance(source, str) and source else _fingerprint(messages), float(weight))


def _turns(value: object, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: messages must be a list of turns")
    turns = []
    for turn in value:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise DataError(f'{where}: each message needs a "role" (system, user or assistant) and a "content" text')
        turns.append(Message(role, content))
    return tuple(turns)


def _text(value: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if isinstance(value.get(name), str):
            return str(value[name])
    raise DataError(f'{where}: the row needs "messages", or "prompt" and "response"')


def _fingerprint(messages: Sequence[Message]) -> str:
    return hashlib.sha256("\x1e".join(m.content for m in messages).encode()).hexdigest()[:16]


def split_by_source(rows: Sequence[Row], validation: float = 0.1, test: float = 0.1, seed: int = 0) -> tuple[list[Row], ...]:
    """(train, validation, test): every source lies in one of them, whole. Raises DataError for fewer than three sources."""
    sources = sorted({row.source for row in rows})
    if len(sources) < 3:
        raise DataError(
            f"the rows come from {len(sources)} source(s), at least 3 are needed to hold documents out: give each row its source"
        )
    random.Random(seed).shuffle(sources)  # noqa: S311 - a split, not a secret
    held = [max(1, round(share * len(sources))) for share in (validation, test)]
    of = dict.fromkeys(sources[: held[0]], 1) | dict.fromkeys(sources[held[0] : sum(held)], 2)
    return tuple([row for row in rows if of.get(row.source, 0) == part] for part in range(3))


def examples(rows: Sequence[Row], tokenizer: ChatTokenizer, max_tokens: int) -> Iterator[Example]:
    """Tokens of each row as serving renders them: template with generation prompt, then the response and the end token.

    A row above `max_tokens` is left out whole, never cut: a cut answer would be learned as one.
    """
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in row.messages], add_generation_prompt=True, tokenize=False
        )
        head = tokenizer.encode(prompt, add_special_tokens=False)
        answer = tokenizer.encode(row.response + tokenizer.eos_token, add_special_tokens=False)
        if len(head) + len(answer) <= max_tokens:
            yield Example((*head, *answer), len(head), row.weight, row.source)
