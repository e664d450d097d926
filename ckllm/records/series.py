"""Tables that are split over files: `orders-01.csv`, `orders-02.csv`, with one header, in one folder.

One of them is not the whole. They are counted together where it is certain that they belong together: numbered without a gap
from 0 or 1, every one of them readable, no row in two of them. Otherwise none is counted, unless the question gives its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import regex

from ckllm.contracts import Access, Chunk
from ckllm.records.table import EXACT, MOST_ROWS, Table, read, usable
from ckllm.store.catalogue_rows import Rowed, RowedText

MOST_FILES = 60
ALL_ROWS = EXACT - {
    "text/html", "text/markdown", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.oasis.opendocument.text",
}  # fmt: skip
"""Formats that hold nothing but rows."""
_NAMED = 3
"""Files that an answer names one by one."""
_DIGITS = regex.compile(r"[0-9]+")


class SeriesSource(Protocol):
    """What is asked of the catalogue."""

    def beside(self, rowed: Rowed, start: str, access: Access) -> list[tuple[str, Rowed | None]]: ...

    def rowed_text(self, version_id: str) -> RowedText | None: ...

    def chunks_at(self, rowed: Rowed, content: RowedText, offsets: Sequence[int]) -> list[Chunk]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A table with the text that it stands in."""

    table: Table
    content: RowedText


@dataclass(frozen=True, slots=True)
class Series:
    """What one table is split over."""

    bare: Table
    """Called by what the files' names have in common: all of them as one table, or the one that was found where `parts` is ()."""
    named: Table
    """The table that was found, called by its file's name."""
    parts: tuple[Part, ...] = ()
    """The files that are counted together; none where it is not certain that they belong together."""


def located(parts: Sequence[Part], row: int) -> tuple[int, int]:
    """Which of the parts holds a row of all of them, and its number there."""
    ends = list(accumulate(len(part.table.rows) for part in parts))
    at = next(at for at, end in enumerate(ends) if row < end)
    return at, row - (ends[at] - len(parts[at].table.rows))


def series(found: Part, source: SeriesSource, access: Access) -> Series | None:
    """The series that a table belongs to; None where no file beside its own has one like it."""
    rowed = found.table.rowed
    folder, name = _divided(rowed.source)
    first = _DIGITS.search(name)
    if first is None:
        return None
    like = regex.compile("([0-9]+)".join(regex.escape(piece) for piece in _DIGITS.split(name)))
    others = [
        one
        for place, one in source.beside(rowed, folder + name[: first.start()], access)
        if place != rowed.source and _divided(place)[0] == folder and like.fullmatch(_divided(place)[1])
    ]
    if not others:
        return None
    alike = None if len(others) >= MOST_FILES else _alike(found, others, source)
    if alike is not None and len(alike) == 1:
        return None
    named = replace(found.table, shown=name)
    unsure = Series(_called(found.table, _DIGITS.findall(name), name), named)
    if alike is None:
        return unsure
    numbers = [[int(digits) for digits in _DIGITS.findall(_file(part))] for part in alike]
    varying = [at for at, some in enumerate(zip(*numbers, strict=True)) if len(set(some)) > 1]
    if len(varying) != 1:
        return unsure
    in_order = sorted(zip((one[varying[0]] for one in numbers), alike, strict=True), key=lambda one: one[0])
    parts = [part for _, part in in_order]
    begin = in_order[0][0]
    whole = (
        _joined(parts) if begin <= 1 and [number for number, _ in in_order] == list(range(begin, begin + len(parts))) else None
    )
    if whole is None:
        return unsure
    return Series(_called(whole, [_DIGITS.findall(_file(parts[0]))[varying[0]]], _told(parts)), named, tuple(parts))


def _divided(place: str) -> tuple[str, str]:
    """Folder with its slash, and name."""
    folder, slash, name = place.rpartition("/")
    return folder + slash, name


def _file(part: Part) -> str:
    return _divided(part.table.rowed.source)[1]


def _told(parts: Sequence[Part]) -> str:
    names = [_file(part) for part in parts]
    return ", ".join(names) if len(names) <= _NAMED else f"{names[0]} … {names[-1]} ({len(names)})"


def _alike(found: Part, others: Iterable[Rowed | None], source: SeriesSource) -> list[Part] | None:
    """The found table with those of the others that are headed as it is; None where any of these cannot be counted."""
    alike = [found]
    if len(found.content.row_sets) > 1:
        return None
    for rowed in others:
        content = source.rowed_text(rowed.version_id) if rowed else None
        if rowed is None or content is None:
            return None
        if not any(_heading(content, at) == _heading(found.content, 0) for at in range(len(content.row_sets))):
            if not content.row_sets and rowed.media_type in ALL_ROWS:
                return None  # a header without rows, or a record that is alone
            continue
        chunks = source.chunks_at(rowed, content, [content.row_sets[0].start])
        if len(content.row_sets) > 1 or not chunks or not usable(rowed):
            return None
        table = read(rowed, content, 0, chunks[0].section, found.table.langs)
        if table is None:
            return None
        alike.append(Part(table, content))
    return alike


def _heading(content: RowedText, at: int) -> str | None:
    """The rows of a table's header; None for all records, which name their fields themselves."""
    one = content.row_sets[at]
    end = one.rows[one.header] if one.header < len(one.rows) else one.end
    return None if one.records else content.text[one.start : end].strip()


def _joined(parts: Sequence[Part]) -> Table | None:
    """The rows of all parts as one table, not to be asked for spans; None where rows may stand in two of them."""
    tables = [part.table for part in parts]
    if sum(len(table.rows) for table in tables) > MOST_ROWS:
        return None
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    if len({column.name for column in columns}) < len(columns):
        return None
    rows: list[list[str]] = []
    for table in tables:
        places = [columns.index(column) for column in table.columns]
        same = places == list(range(len(places)))
        rows += table.rows if same else [_moved(row, places, len(columns)) for row in table.rows]
    lists = frozenset(columns.index(table.columns[at]) for table in tables for at in table.lists)
    if _overlap([{tuple(row) for row in table.rows} for table in tables]):
        return None
    firsts = [table.cells(0) for table in tables]
    if all(len(set(cells)) == len(cells) > 1 for cells in firsts) and _overlap([set(cells) for cells in firsts]):
        return None  # each of them numbers or names its rows: what recurs is a later state of the same
    first = tables[0]
    return Table(first.rowed, "", first.row_set, tuple(columns), rows, (), first.names, first.around, first.langs, lists)


def _moved(row: Sequence[str], places: Sequence[int], width: int) -> list[str]:
    moved = [""] * width
    for place, cell in zip(places, row, strict=False):
        moved[place] = cell
    return moved


def _overlap(some: Sequence[set[str]] | Sequence[set[tuple[str, ...]]]) -> bool:
    return len(set().union(*some)) < sum(len(one) for one in some)


def _called(table: Table, digits: Iterable[str], shown: str) -> Table:
    """The table without these numbers in its names."""
    numbers = "|".join({digit.lstrip("0") or "0" for digit in digits})
    number = regex.compile(rf"[\s_.(#-]*(?<![0-9])0*(?:{numbers})(?![0-9])\)?")
    names, around = (tuple(filter(None, (number.sub("", name).strip() for name in some))) for some in (table.names, table.around))
    return replace(table, names=names, around=around, shown=shown)
