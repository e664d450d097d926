"""Batch inference over a JSONL file: rows in, rows out, in order; a failing row becomes a row with `error`.

A row is `{"id"?, "prompt"}` (plain completion) or `{"id"?, "messages"}` (chat), with any parameter of the model and `stop` of its
own. What is written: `{"row", "id"?, "text", "finish_reason", "usage"}` or `{"row", "id"?, "error": {"type", "message"}}`.
A run that was interrupted goes on after the last complete row of the output file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ckllm.contracts import Message, digest
from ckllm.errors import CkllmError, DataError, UsageError
from ckllm.json_text import json_text
from ckllm.llm.base import BaseLLM, Completion, GenerationRequest

WINDOW = 64
"""Rows read, bucketed by length and computed together before they are written in their order."""
_FIELDS = frozenset({"id", "prompt", "messages", "stop"})
Progress = Callable[[int, int], None]
"""Rows done, rows in all."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    rows: int
    """In the input."""
    skipped: int
    """Already in the output."""
    failed: int
    """With an error, in this run."""


def run_batch_file(llm: BaseLLM, source: Path, target: Path, progress: Progress | None = None, **parameters: Any) -> BatchReport:
    """Answer every row of `source` into `target`. `parameters` hold for rows that do not say otherwise.

    Raises DataError where a file cannot be read or written, or `target` is the output of other rows.
    """
    rows = count_rows(source)
    skipped = _already(source, target)
    failed, done = 0, skipped
    try:
        with source.open(encoding="utf-8-sig") as lines, target.open("a", encoding="utf-8") as out:
            waiting = islice(enumerate(_lines(lines)), skipped, None)
            while window := list(islice(waiting, WINDOW)):
                for row in _answered(llm, window, parameters):
                    out.write(_line(row))
                    failed += "error" in row
                    done += 1
                    if progress is not None:
                        progress(done, rows)
                out.flush()
                os.fsync(out.fileno())
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}") from error
    return BatchReport(rows, skipped, failed)


def batch_rows(llm: BaseLLM, lines: Iterator[str], **parameters: Any) -> Iterator[dict[str, Any]]:
    """The output rows of JSONL lines, in order, as they are made."""
    numbered = enumerate(_lines(lines))
    while window := list(islice(numbered, WINDOW)):
        yield from _answered(llm, window, parameters)


def _answered(llm: BaseLLM, window: list[tuple[int, str]], parameters: dict[str, Any]) -> list[dict[str, Any]]:
    results: dict[int, dict[str, Any]] = {}
    requests: list[GenerationRequest] = []
    places: list[tuple[int, str, Any]] = []
    for number, line in window:
        row: dict[str, Any] = {}
        try:
            row = _row(line, number)
            requests.append(_request(llm, row, parameters))
            places.append((number, line, row.get("id")))
        except CkllmError as error:
            results[number] = _head(number, line, row.get("id")) | {"error": _error(error)}
    for index, outcome in llm.generate_many(requests):
        number, line, own = places[index]
        results[number] = _head(number, line, own) | _body(outcome)
    return [results[number] for number, _line in window]


def _head(number: int, line: str, own: Any) -> dict[str, Any]:
    """Which row this is: its number, a digest of its line (so that a resumed run notices other input), its own id."""
    return {"row": number, "input": digest(line, size=8)} | ({} if own is None else {"id": own})


def _body(outcome: Completion | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"error": _error(outcome)}
    usage = {"prompt_tokens": outcome.usage.prompt_tokens, "completion_tokens": outcome.usage.completion_tokens}
    return {"text": outcome.text, "finish_reason": outcome.finish_reason, "usage": usage}


def _error(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"row {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"row {number} is not a JSON object")
    return row


def _request(llm: BaseLLM, row: dict[str, Any], parameters: dict[str, Any]) -> GenerationRequest:
    extras = parameters | {key: value for key, value in row.items() if key not in _FIELDS}
    if "stop" in row:
        extras["stop"] = row["stop"]
    prompt, messages = row.get("prompt"), row.get("messages")
    if (prompt is None) == (messages is None):
        raise UsageError("a row needs `prompt` or `messages`, one of them")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise UsageError("`prompt` must be text")
        return llm.request(prompt=prompt, **extras)
    return llm.request(_conversation(messages), **extras)


def _conversation(messages: Any) -> list[Message]:
    if not isinstance(messages, list) or not messages:
        raise UsageError("`messages` must be a list with at least one message")
    result: list[Message] = []
    for message in messages:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError(f"a message needs a role (system, user, assistant) and its text as content: {str(message)[:80]}")
        result.append(Message(role, content))
    return result


def _line(row: dict[str, Any]) -> str:
    """An id may be anything that Python reads as JSON."""
    return json_text(row, allow_nan=True) + "\n"


def _lines(lines: Iterator[str]) -> Iterator[str]:
    return (line.strip() for line in lines if line.strip())


def count_rows(source: Path) -> int:
    """Rows of a JSON Lines file. Raises DataError where it is missing or not UTF-8."""
    try:
        with source.open(encoding="utf-8-sig") as lines:
            return sum(1 for _ in _lines(lines))
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text: {error}") from None


def _already(source: Path, target: Path) -> int:
    """How many rows of `source` `target` holds. Cuts off a last line that was not written whole."""
    if not target.is_file():
        return 0
    content = target.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(target, len(whole))
    done = 0
    rows = whole.decode("utf-8").split("\n")[:-1]  # not splitlines(): answers may hold U+2028 and U+0085 as they are
    with source.open(encoding="utf-8-sig") as lines:
        for expected, line in zip(_lines(lines), rows, strict=False):
            written = _row(line, done)
            if written.get("row") != done or written.get("input") != digest(expected, size=8):
                raise DataError(f"{target} holds the answers to other rows: give another output file")
            done += 1
    if done < len(rows):
        raise DataError(f"{target} holds more rows than {source}: give another output file")
    return done
