"""What the words of a question may be, next to one table: columns, values, names, comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import regex

from ckllm.records.table import Column, Table
from ckllm.records.values import YEARS, Day, date, is_missing, number, unit
from ckllm.records.vocabulary import TEMPORAL, Comparison, Language
from ckllm.records.words import Phrase, Word, folded, matches, words

LONGEST_VALUE = 8
"""Words of a cell that a question may name."""
_ENDINGS = frozenset({"", "s", "es", "e", "n", "en", "er", "ern", "em"})
_PARTS = regex.compile(r"[;,]")


class Kind(Enum):
    FUNCTION = "function"
    AND = "and"
    OR = "or"
    DISTINCT = "distinct"
    ROWS = "rows"
    NAME = "name"
    HEAD = "head"
    COLUMN = "column"
    VALUE = "value"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class Measure:
    """A comparison with a number or a date. `bare`: no word of comparison stood with it."""

    sign: Comparison
    low: float | None = None
    high: float | None = None
    first: Day | None = None
    last: Day | None = None
    unit: str = ""
    bare: bool = False
    dated: bool = False
    """A word for dates stood with it."""


@dataclass(frozen=True, slots=True)
class Item:
    """Words [start:end] of the question, as one thing."""

    kind: Kind
    start: int
    end: int
    columns: tuple[int, ...] = ()
    cells: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Column → the cells that a value stands for; without columns, nobody can say which."""
    within: bool = False
    """The value is one of several in its cells."""
    measure: Measure | None = None
    whole: bool = True
    """All words of the column's name were said."""


class Reader:
    """The items that may begin at a word of the question, longest first."""

    def __init__(self, asked: Sequence[Word], language: Language, table: Table) -> None:
        self._asked = asked
        self._language = language
        self._table = table
        self._heads = frozenset(stem for head in table.heads(language.head_first) for stem in head.stems)
        self._names = frozenset(stem for word in table.name_words for stem in word.stems)
        self._values = _index(table, asked)
        self._units = {unit(column.unit) for column in table.columns if column.unit}

    def at(self, place: int) -> list[Item]:
        """Everything of the greatest length that the words from `place` on may be; nothing where they are not understood."""
        found = [*self._vocabulary(place), *self._columns(place), *self._value(place), *self._named(place)]
        if measure := self._measure(place):
            found.append(measure)
        longest = max((one.end for one in found), default=0)
        return [one for one in found if one.end == longest]

    # -- words of the language

    def _vocabulary(self, place: int) -> Iterator[Item]:
        language = self._language
        kinds: tuple[tuple[Kind, Iterable[Phrase]], ...] = (
            (Kind.DISTINCT, language.distinct), (Kind.ROWS, language.rows), (Kind.FUNCTION, language.function),
            (Kind.FUNCTION, language.at),
        )  # fmt: skip
        if conjunction := longest(self._asked, place, language.conjunctions):
            yield Item(Kind.AND if self._asked[place].key in _AND else Kind.OR, place, place + conjunction)
            return
        for kind, phrases in kinds:
            if length := longest(self._asked, place, phrases):
                yield Item(kind, place, place + length)
                return

    def _named(self, place: int) -> Iterator[Item]:
        word = self._asked[place]
        if word.stems & self._heads:
            yield Item(Kind.HEAD, place, place + 1)
        elif word.stems & self._names and (word.key,) not in self._language.function:
            yield Item(Kind.NAME, place, place + 1)

    # -- the table's columns

    def _columns(self, place: int) -> Iterator[Item]:
        best: tuple[int, int, list[int], bool] | None = None
        for at, column in enumerate(self._table.columns):
            for length, quality, whole in self._said(column, place):
                rank = (length, 2 * whole + quality)
                if best is None or rank > best[:2]:
                    best = (*rank, [at], whole)
                elif rank == best[:2] and at not in best[2]:
                    best[2].append(at)
        if best:
            yield Item(Kind.COLUMN, place, place + best[0], tuple(best[2]), whole=best[3])

    def _said(self, column: Column, place: int) -> Iterator[tuple[int, int, bool]]:
        """(length, quality, whole) of every run of the column's words that stands at `place`."""
        named = column.words
        for first in range(len(named)):
            for last in range(len(named), first, -1):
                length = last - first
                asked = self._asked[place : place + length]
                if len(asked) == length and (quality := matches(asked, named[first:last])):
                    whole = length == len(named)
                    if whole or any((word.key,) not in self._language.function and not word.is_number for word in asked):
                        yield length, quality, whole

    # -- its cells

    def _value(self, place: int) -> Iterator[Item]:
        for length in range(min(LONGEST_VALUE, len(self._asked) - place), 0, -1):
            asked = self._asked[place : place + length]
            by_column: dict[int, dict[str, int]] = {}
            holding: dict[tuple[int, str], set[str]] = {}
            for column, cell, part, named in self._values.get(asked[0].key[:2], ()):
                if (quality := matches(asked, named)) and (quality == 2 or _inflected(asked, named)):
                    by_column.setdefault(column, {})[part] = quality
                    holding.setdefault((column, part), set()).add(cell)
            cells = {
                column: frozenset(cell for part in chosen for cell in holding[column, part])
                for column, some in by_column.items()
                if (chosen := _one_value(some))
            }
            if by_column:
                unclear = len(cells) < len(by_column)
                yield Item(Kind.VALUE, place, place + length, () if unclear else tuple(cells), cells)
                return

    def part(self, place: int) -> Item | None:
        """Words that are one of several values in the cells of one column, separated by commas."""
        for length in range(min(3, len(self._asked) - place), 0, -1):
            asked = self._asked[place : place + length]
            if (asked[0].key,) in self._language.function:
                return None
            hits = {at: cells for at in range(len(self._table.columns)) if (cells := self._with_part(at, asked))}
            if hits:
                return Item(Kind.VALUE, place, place + length, tuple(hits), hits, within=True)
        return None

    def _with_part(self, column: int, asked: Sequence[Word]) -> frozenset[str]:
        found = set()
        for cell in set(self._table.cells(column)):
            if asked[0].key in folded(cell) and any(matches(asked, words(part)) == 2 for part in _PARTS.split(cell)):
                found.add(cell)
        return frozenset(found)

    def elsewhere(self, column: int, item: Item) -> bool:
        """Whether other cells of the column hold the words of a value too: then it is not clear what is meant."""
        asked = [word.key for word in self._asked[item.start : item.end]]
        for cell in set(self._table.cells(column)) - item.cells[column]:
            if asked[0] in (low := folded(cell)):
                there = [word.key for word in words(low)]
                if any(there[at : at + len(asked)] == asked for at in range(len(there))):
                    return True
        return False

    # -- numbers and dates

    def _measure(self, place: int) -> Item | None:
        language = self._language
        length = longest(self._asked, place, language.comparisons)
        sign = language.comparisons.get(self._keys(place, length)) if length else None
        at = longest(self._asked, place, language.at) if not length else 0
        start = place + (length or at)
        if sign == "between":
            return self._between(place, start)
        operand = self._operand(start, dated=bool(length or at))
        if operand is None:
            return None
        end, low, day, measured = operand
        if at and day is None:
            return None
        temporal = bool(at) or self._keys(place, length) in TEMPORAL
        after = longest(self._asked, end, language.trailing)
        if after and not sign:
            sign, temporal = language.trailing[self._keys(end, after)], self._keys(end, after) in TEMPORAL
            end += after
        bare = not sign and not at
        made = Measure(sign or "=", low, None, day, None, measured, bare=bare, dated=temporal)
        return Item(Kind.MEASURE, place, end, measure=made)

    def _between(self, place: int, start: int) -> Item | None:
        first = self._operand(start, dated=True)
        if first is None or not (gap := longest(self._asked, first[0], self._language.conjunctions)):
            return None
        last = self._operand(first[0] + gap, dated=True)
        if last is None or (first[2] is None) != (last[2] is None) or (first[3] and last[3] and first[3] != last[3]):
            return None
        made = Measure("between", first[1], last[1], first[2], last[2], first[3] or last[3])
        return Item(Kind.MEASURE, place, last[0], measure=made)

    def _operand(self, place: int, *, dated: bool) -> tuple[int, float | None, Day | None, str] | None:
        """(end, number, date, unit) of a number or a date that begins at `place`; a year is both."""
        asked, comma = self._asked, self._language.reads_comma_as_decimal
        for length in (4, 3, 2, 1):
            if place + length <= len(asked) and (day := date(" ".join(word.key for word in asked[place : place + length]))):
                return place + length, None, day, ""
        if dated and (month := longest(asked, place, self._language.months)):
            return place + month, None, (0, self._language.months[self._keys(place, month)], 0), ""
        sign = unit(asked[place].key) if place < len(asked) and asked[place].key in "€$£¥₹" else ""
        place += bool(sign)
        if place >= len(asked) or not asked[place].is_number or (value := number(asked[place].text, comma)) is None:
            return None
        key = asked[place].key
        year = (int(key), 0, 0) if not sign and key.isdecimal() and len(key) == 4 and int(key) in YEARS else None
        if not sign and place + 1 < len(asked) and (named := unit(asked[place + 1].key)) and self._is_unit(named):
            return place + 2, value, None, named
        return place + 1, value, year, sign

    def _is_unit(self, named: str) -> bool:
        return named in _KNOWN_UNITS or named in self._units

    def _keys(self, place: int, length: int) -> Phrase:
        return tuple(word.key for word in self._asked[place : place + length])


_AND = frozenset(["and", "y", "e", "und", "et", "और", "व"])
_KNOWN_UNITS = frozenset(["€", "$", "£", "¥", "₹", "%", "kg", "km", "cm", "mm"])


def longest(asked: Sequence[Word], place: int, phrases: Iterable[Phrase]) -> int:
    """Length of the longest of `phrases` that stands at `place`; 0 for none."""
    best = 0
    for one in phrases:
        if len(one) > best and tuple(word.key for word in asked[place : place + len(one)]) == one:
            best = len(one)
    return best


_Entry: TypeAlias = tuple[int, str, str, list[Word]]
"""Column, cell, value in it, its words."""


def _index(table: Table, asked: Sequence[Word]) -> dict[str, list[_Entry]]:
    """Values that begin as a word of the question does, by their first two letters."""
    starts = {word.key[:2] for word in asked}
    found: dict[str, list[_Entry]] = {}
    for column in range(len(table.columns)):
        several = column in table.lists
        for cell in set(table.cells(column)):
            for part in _PARTS.split(cell) if several else (cell,):
                if _start(part) in starts and len(part) < 200 and not is_missing(part):
                    named = words(part, table.langs)
                    if 0 < len(named) <= LONGEST_VALUE:
                        found.setdefault(named[0].key[:2], []).append((column, cell, part.strip(), named))
    return found


def _inflected(asked: Sequence[Word], named: Sequence[Word]) -> bool:
    """Whether words differ by an ending of number or case at most: operators are not in Operations, though they share a stem."""
    return all(_ending(one.key, other.key) for one, other in zip(asked, named, strict=True))


def _ending(one: str, other: str) -> bool:
    if not (one.isascii() and other.isascii()):
        return True  # what the endings of other scripts are, only their stemmers know
    short, long = sorted((one, other), key=len)
    return long.removeprefix(short) in _ENDINGS or (long.endswith("ies") and short == long[:-3] + "y")


def _start(text: str) -> str:
    """The first two letters of a value's first word."""
    head = text[:2].lower()
    return head if head.isalnum() and head.isascii() else folded(text.strip()[:4])[:2].strip(" -.,")


def _one_value(cells: Mapping[str, int]) -> frozenset[str]:
    """The cells written as asked; else those of which only the inflection differs, where they are one value."""
    exact = frozenset(cell for cell, quality in cells.items() if quality == 2)
    if exact:
        signs = {_bare(cell) for cell in exact}
        return exact if len(signs) == 1 else frozenset()
    inflected = {folded(cell) for cell in cells}
    return frozenset(cells) if len(inflected) == 1 else frozenset()


def _bare(cell: str) -> str:
    """A cell without the marks that only set words apart: C, C++ and C# stay three things."""
    return regex.sub(r"(?:(?!-\d)[\s\-_/.,;:'’\"“”()&])+", " ", folded(cell)).strip()
