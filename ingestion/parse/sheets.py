"""A spreadsheet's cells to elements: one table per block of cells, its title above it, empty rows between blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ckllm.contracts import ElementKind
from ingestion.parse.text import TextBuilder, one_line

_SHARED_ROWS = 0.8


def add_sheet(builder: TextBuilder, number: int, name: str, rows: Iterable[Sequence[object]]) -> None:
    """Append one sheet as a page: its name as heading, then its blocks of cells in order."""
    builder.page(number)
    builder.append(ElementKind.HEADING, name, 1)
    block: list[list[str]] = []
    for row in rows:
        cells = [cell_text(value) for value in row]
        if any(cells):
            block.append(cells)
        elif block:
            _add_block(builder, block)
            block = []
    _add_block(builder, block)


def cell_text(value: object) -> str:
    """A cell as a reader would write it: whole floats without ".0", dates in ISO form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(round(value, 10))
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "minutes")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return one_line(str(value))


def _add_block(builder: TextBuilder, rows: list[list[str]]) -> None:
    """Side by side tables are told apart by empty columns; lines of one cell above a table are its title."""
    for part in _side_by_side(rows):
        filled = [sum(map(bool, row)) for row in part]
        first = next((place for place, cells in enumerate(filled) if cells > 1), 0)
        lines, table = part[:first], part[first:]
        if max(filled, default=0) <= 1 and len(table) <= 2:
            lines, table = part, []
        for row in lines:
            builder.append(ElementKind.PARAGRAPH, "".join(row))
        builder.table(table)


def _side_by_side(rows: list[list[str]]) -> list[list[list[str]]]:
    width = max(map(len, rows), default=0)
    used = [any(column < len(row) and row[column] for row in rows) for column in range(width)]
    edges = [0, *(column for column in range(1, width) if used[column] and not used[column - 1]), width]
    parts: list[tuple[int, int]] = []
    for start, end in pairwise(edges):
        last = max((column for column in range(start, end) if used[column]), default=start - 1) + 1
        if parts and _belong_together(rows, parts[-1], (start, last)):
            parts[-1] = (parts[-1][0], last)
        elif last > start:
            parts.append((start, last))
    tables = [[_without(row[start:last], used[start:last]) for row in rows] for start, last in parts]
    return [[row for row in table if any(row)] for table in tables]


def _belong_together(rows: list[list[str]], left: tuple[int, int], right: tuple[int, int]) -> bool:
    """Whether a column beside an empty one says something of the same rows, as a form's labels do of its values."""
    if min(left[1] - left[0], right[1] - right[0]) > 1:
        return False
    in_left, in_right = ({place for place, row in enumerate(rows) if any(row[start:end])} for start, end in (left, right))
    return len(in_left & in_right) >= _SHARED_ROWS * len(in_left | in_right)


def _without(row: list[str], used: list[bool]) -> list[str]:
    return [cell for cell, in_use in zip(row, used, strict=False) if in_use]
