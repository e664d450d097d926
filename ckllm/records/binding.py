"""One reading of a question, its values and comparisons bound to the columns of the table."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.records.conditions import Condition, compared, one_of, same_value, united
from ckllm.records.parts import Item, Kind, Measure, Reader
from ckllm.records.question import Question
from ckllm.records.readings import NoPlanError
from ckllm.records.table import Table

_STATE = regex.compile(
    r"\b(?:were|was|are|is)\s+there\b|\bnumber\s+of\b|\bha[ds]\b|\bhave\b|\bgab\s+es\b|\bhab[ií]a\b|\bhubo\b|\by\s+avait\b|था|थे|थीं",
    regex.IGNORECASE,
)
_DIRECTIONS = frozenset({"to", "from", "an"})
"""Before a value, these tell sender from receiver, and no column does unless it is named."""


class Binding:
    """Raises NoPlanError where a value or a comparison is not certain to belong to one column."""

    def __init__(self, question: Question, table: Table, reader: Reader, items: Sequence[Item]) -> None:
        self._question = question
        self._table = table
        self._reader = reader
        self.items = [item for item in items if item.kind is not Kind.FUNCTION]
        self.bound: set[int] = set()
        """Places of the columns that conditions were named with."""
        self._placed: list[tuple[int, Condition]] = []
        """With the place of its item."""
        self._bind()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(condition for _, condition in self._placed)

    def _bind(self) -> None:
        for at, item in enumerate(self.items):
            if item.kind is Kind.VALUE:
                self._bind_value(at, item)
            elif item.kind is Kind.MEASURE:
                self._bind_measure(at, item)
            elif item.kind is Kind.OR:
                self._check_or(at)
        self._unite()

    def _neighbours(self, at: int) -> list[int]:
        """Columns named right before, or, with no word between, right after an item."""
        found = []
        if at and self.items[at - 1].kind is Kind.COLUMN and at - 1 not in self.bound:
            found.append(at - 1)
        if at + 1 < len(self.items) and self.items[at + 1].kind is Kind.COLUMN and self.items[at + 1].start == self.items[at].end:
            found.append(at + 1)
        return found

    def _bind_value(self, at: int, item: Item) -> None:
        if not item.columns:
            raise NoPlanError("a value may be one of several")
        for neighbour in self._neighbours(at):
            there = [column for column in self.items[neighbour].columns if column in item.columns]
            if len(self.items[neighbour].columns) == 1 and there:
                self.bound.add(neighbour)
                self._add_value(at, item, there[0])
                return
        words = self._question.words[item.start : item.end]
        before = self._question.words[item.start - 1].key if item.start else ""
        if len(item.columns) != 1 or all(word.is_number for word in words) or before in _DIRECTIONS:
            raise NoPlanError(f"{words[0].text!r} stands in several columns, or in none that was named")
        self._add_value(at, item, item.columns[0])

    def _add_value(self, at: int, item: Item, column: int) -> None:
        within = item.within or column in self._table.lists
        if not within and self._reader.elsewhere(column, item):
            raise NoPlanError("other cells of the column hold the value too")
        if self._table.may_be_grouped(column):
            raise NoPlanError("a value may hold for the rows below it too")
        cells = item.cells[column] if within else same_value(self._table, column, item.cells[column])
        value = " ".join(word.text for word in self._question.words[item.start : item.end])
        self._placed.append((at, one_of(self._table, column, cells, within=value if within else "")))

    def _bind_measure(self, at: int, item: Item) -> None:
        measure = item.measure
        assert measure is not None
        neighbours = [one for one in self._neighbours(at) if len(self.items[one].columns) == 1]
        fits = [(one, made) for one in neighbours if (made := compared(self._table, self.items[one].columns[0], measure))]
        if len(fits) == 1:
            self.bound.add(fits[0][0])
            self._placed.append((at, fits[0][1]))
            return
        if fits or neighbours or (measure.bare and not measure.unit):
            raise NoPlanError("a number without its column", fits=bool(fits))
        if measure.first is not None and _STATE.search(self._question.text):
            raise NoPlanError("how many there were at a time is not how many have its date")
        if (before := self._same_as_before(at)) is not None:
            everywhere = [compared(self._table, before, measure)]
        elif measure.first is not None and (measure.dated or measure.first[1]):
            everywhere = [
                made for column in range(len(self._table.columns)) if (made := compared(self._table, column, measure, days=True))
            ]
        elif measure.unit:
            everywhere = [made for column in range(len(self._table.columns)) if (made := compared(self._table, column, measure))]
        else:
            everywhere = []
        if len(everywhere) != 1 or everywhere[0] is None:
            raise NoPlanError("a number or a date that several columns, or none, may hold")
        self._placed.append((at, everywhere[0]))

    def _same_as_before(self, at: int) -> int | None:
        """ "above 10 and below 20": the second speaks of the first one's column."""
        if at >= 2 and self.items[at - 1].kind is Kind.AND and self.items[at - 2].kind is Kind.MEASURE:
            return next(condition.column for place, condition in self._placed if place == at - 2)
        return None

    def _check_or(self, at: int) -> None:
        around = self.items[at - 1 : at + 2]
        if at == 0 or len(around) != 3 or any(one.kind is not Kind.VALUE for one in (around[0], around[2])):
            raise NoPlanError("an or between conditions")

    def _unite(self) -> None:
        """Values of one column that are joined by and or or: rows may hold any of them."""
        made: list[tuple[int, Condition]] = []
        by_column: dict[int, list[tuple[int, Condition]]] = {}
        for at, condition in self._placed:
            if condition.cells is None:
                made.append((at, condition))
            else:
                by_column.setdefault(condition.column, []).append((at, condition))
        if sum(len(some) > 1 for some in by_column.values()) > 1:
            raise NoPlanError("values of several columns that may belong together in pairs")
        self._check_ranges()
        for some in by_column.values():
            if len(some) > 1:
                between = self.items[some[0][0] : some[-1][0] + 1]
                if any(one.kind not in (Kind.VALUE, Kind.AND, Kind.OR) for one in between) or len(between) < len(some) + 1:
                    raise NoPlanError("two values of one column")
                if any(condition.within for _, condition in some):
                    raise NoPlanError("several values in cells with several values")
            made.append((some[0][0], united([condition for _, condition in some])))
        joined = [at for at, item in enumerate(self.items) if item.kind is Kind.OR]
        for at in joined:
            columns = {condition.column for place, condition in self._placed if place in (at - 1, at + 1)}
            if len(columns) != 1:
                raise NoPlanError("an or between two columns")
        self._placed = sorted(made, key=lambda one: one[0])

    def _check_ranges(self) -> None:
        """Two comparisons with one column are a range or nothing: "before 2016 and after 2020" means either, not both."""
        by_column: dict[int, list[Measure]] = {}
        for at, condition in self._placed:
            measure = self.items[at].measure
            if measure is not None:
                by_column.setdefault(condition.column, []).append(measure)
        for some in by_column.values():
            if len(some) == 1:
                continue
            bounds = {one.sign[0]: one.first[:1] if one.first else (one.low or 0.0,) for one in some}
            if len(some) != 2 or set(bounds) != {"<", ">"} or bounds[">"] > bounds["<"]:
                raise NoPlanError("two comparisons with one column")
