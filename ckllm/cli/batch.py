"""`--batch FILE`: rows of JSON Lines in, one JSON line a row out, in the same order; a bad row costs only itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

from ckllm.cli import output
from ckllm.errors import CkllmError, DataError, UsageError


@dataclass(frozen=True, slots=True)
class BatchRow:
    """`given` holds the row's id and text as far as they are there; `fault` says why it cannot be asked."""

    given: Mapping[str, Any]
    text: str = ""
    fault: DataError | None = None

    def answered(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        return ({"id": self.given["id"]} if "id" in self.given else {}) | dict(answer)

    def failed(self, error: Exception) -> dict[str, Any]:
        return {**self.given, "error": {"type": type(error).__name__, "message": str(error)}}


def read(file: Path, field: str) -> Iterator[BatchRow]:
    """Every row with its text under `field`; blank lines are skipped, other fields ignored.

    Raises UsageError when the file is missing.
    """
    if not file.is_file():
        raise UsageError(f"no batch file at {file}: give the path of a JSON Lines file")
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _row(line, field, f"{file}:{number}")


def answer_each(file: Path, field: str, answer: Callable[[str], Mapping[str, Any]]) -> None:
    """Print what `answer` gives for each row as it is made. Ends with exit code 1 only if every row failed."""
    rows = failed = 0
    for row in read(file, field):
        rows += 1
        try:
            if row.fault is not None:
                raise row.fault
            output.print_json(row.answered(answer(row.text)))
        except CkllmError as error:
            failed += 1
            output.print_json(row.failed(error))
    exit_if_all_failed(rows, failed)


def exit_if_all_failed(rows: int, failed: int) -> None:
    if rows and failed == rows:
        raise typer.Exit(1)


def _row(line: str, field: str, place: str) -> BatchRow:
    try:
        row = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return BatchRow({}, fault=DataError(f"{place} is not JSON: {error}"))
    known = row if isinstance(row, dict) else {}
    given = {key: known[key] for key in ("id", field) if key in known}
    text = known.get(field)
    if not isinstance(text, str):
        return BatchRow(given, fault=DataError(f'{place} has no text under "{field}"'))
    return BatchRow(given, text)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
