"""JSON and JSON Lines: one line a value, `key: value`, indented as it is nested; each record is one piece."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.text import DATA_URI, TextBuilder, one_line

_MAX_DEPTH = 200
_RECORD_LINES = 40
_BLOB = 5000
_FIELD = re.compile(r"\S:(?:\s|$)", re.MULTILINE)


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    text = decode(source.path.read_bytes())[0]
    builder = TextBuilder(media_type)
    values = list(_values(text, media_type, builder))
    for value in values:
        _add(builder, value)
    if not builder.warnings and all(isinstance(value, dict) and not _reads_as_fields(value) for value in values):
        builder.records(0, len(values))
    return builder.build(_title(values), source)


class _Number(str):
    """A number as the file has it: no digit is lost, whatever its size."""

    __slots__ = ()


_read = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_Number)
_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/|,(?=\s*(?:(?://[^\n]*|/\*.*?\*/)\s*)*[}\]])', re.S)
"""Strings, and what some programs accept in JSON besides: comments, a comma behind the last member."""


def _values(text: str, media_type: str, builder: TextBuilder) -> Iterator[Any]:
    """The file's one value, or several one after the other, or one a line; lines that are no JSON are counted in a warning."""
    failure = "broken JSON Lines: no line is JSON"
    if media_type != "application/jsonl":
        try:
            yield _read.decode(text)
            return
        except ValueError as error:
            failure = f"broken JSON: {error}: mend it there"
    found = broken = 0
    for line in io.StringIO(text, newline=None):  # not splitlines(): strings may hold U+2028 and U+0085 as they are
        if not line.strip():
            continue
        try:
            value = _read.decode(line)
        except ValueError:
            broken += 1
            if media_type != "application/jsonl":
                break
            continue
        found += 1
        yield value
    if found and media_type == "application/jsonl":
        if broken:
            builder.warn(f"{broken} lines are not JSON and were left out")
    elif broken or not found:
        rest = _one_after_other(text)
        if not rest or found:
            raise DataError(failure)
        yield from rest


def _one_after_other(text: str) -> list[Any]:
    """The values of a text that has more than one, or comments; [] where there is anything else in it."""
    text = _TOKEN.sub(lambda match: match[1] or "", text)
    found, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = _read.raw_decode(text, at)
        except ValueError:
            return []
        found.append(value)
    return found


def _add(builder: TextBuilder, value: Any) -> None:
    """A list's items are pieces of their own, as are the members of an object that is too long for one."""
    if isinstance(value, list):
        first = len(builder)
        for item in value:
            _add_record(builder, item)
        if all(isinstance(item, dict) and not _reads_as_fields(item) for item in value):
            builder.records(first, len(value))
    elif isinstance(value, dict) and sum(1 for _ in _lines(value, 0)) > _RECORD_LINES:
        for key, member in value.items():
            if isinstance(member, list) and member and all(isinstance(item, (dict, list)) for item in member):
                builder.append(ElementKind.HEADING, str(key), 1)
                _add(builder, member)
            else:
                _add_record(builder, {key: member})
    else:
        _add_record(builder, value)


def _add_record(builder: TextBuilder, value: Any) -> None:
    lines = list(_lines(value, 0))
    for start in range(0, len(lines), _RECORD_LINES):
        builder.append(ElementKind.PARAGRAPH, "\n".join(lines[start : start + _RECORD_LINES]))


def _lines(value: Any, depth: int, key: str = "") -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise RecursionError
    indent = "  " * max(0, depth - 1)
    label = f"{indent}{key}: " if key else indent
    if (isinstance(value, dict) and value) or (isinstance(value, list) and value):
        if key:
            yield label.rstrip()
        if isinstance(value, dict):
            for name, member in value.items():
                yield from _lines(member, depth + 1, one_line(str(name)))
        elif all(not isinstance(item, (dict, list)) for item in value) and sum(len(str(item)) for item in value) < 200:
            yield f"{'  ' * depth}{', '.join(_scalar(item) for item in value)}"
        else:
            for item in value:
                yield from _lines(item, depth + 1)
    elif isinstance(value, str) and "\n" in value.strip():
        yield label.rstrip() or indent
        for line in filter(str.strip, value.strip().splitlines()):
            yield f"{indent}  {line.strip()}"  # deeper than its key, and never empty: it cannot pass for a field or a record
    elif (text := _scalar(value)) != "":
        yield f"{label}{text}"


def _reads_as_fields(value: Any) -> bool:
    """Whether a list or a name in it stands there like a field of its own: who reads the record back would take it for one."""
    if isinstance(value, dict):
        return any(_FIELD.search(str(name)) is not None or _reads_as_fields(member) for name, member in value.items())
    if isinstance(value, list):
        return any(_FIELD.search(item) is not None if isinstance(item, str) else _reads_as_fields(item) for item in value)
    return False


def _scalar(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = one_line(str(value))
    is_blob = (len(text) > _BLOB and " " not in text[:_BLOB]) or DATA_URI.fullmatch(text)
    return "" if is_blob else text


def _title(values: list[Any]) -> str:
    if len(values) == 1 and isinstance(values[0], dict):
        for key in ("title", "name", "headline"):
            if type(values[0].get(key)) is str:
                return str(values[0][key])
    return ""
