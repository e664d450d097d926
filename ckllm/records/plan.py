"""From the words of a question to conditions on the columns of one table.

Every word has to be accounted for: as a word of the language that says nothing by itself, as what the table is called, as the
thing that its rows are, or as part of a condition on a column that is certain. One word left over, one column that is named
without a condition, one value that stands in two columns, and there is no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import regex

from ckllm.records.conditions import Condition, compared, one_of, same_value, united
from ckllm.records.parts import Item, Kind, Measure, Reader
from ckllm.records.question import Question
from ckllm.records.table import Table
from ckllm.records.values import is_missing
from ckllm.records.vocabulary import GENERIC_KEYS, IDENTIFIERS, KEY_PARTS, Operation

MOST_READINGS = 8
AMOUNTS = frozenset(
    [
        "number", "quantity", "qty", "count", "counts", "stock", "pieces", "pcs", "units", "copies", "anzahl", "menge", "stuck",
        "stuckzahl", "bestand", "cantidad", "unidades", "existencias", "numero", "quantite", "nombre", "effectif", "unites",
    ]
)  # fmt: skip
"""Words of headers that say how many things a row stands for."""
_STATE = regex.compile(
    r"\b(?:were|was|are|is)\s+there\b|\bnumber\s+of\b|\bha[ds]\b|\bhave\b|\bgab\s+es\b|\bhab[ií]a\b|\bhubo\b|\by\s+avait\b|था|थे|थीं",
    regex.IGNORECASE,
)
_DIRECTIONS = frozenset({"to", "from", "an"})
"""Before a value, these tell sender from receiver, and no column does unless it is named."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a table's rows."""

    table: Table
    operation: Operation
    conditions: tuple[Condition, ...]
    label: int | None = None
    """Column that names what is listed; for a count of different values, the column whose values are counted."""
    shown: tuple[int, ...] = ()
    """More columns that were asked for."""
    target: int | None = None
    """Column that is summed, averaged, or searched for its extreme."""
    extreme: Operation | None = None
    distinct: bool = False
    """Each value of `label` once, instead of each row."""
    local: int = 0
    """Words of the question that only this table accounts for, not the document it is in."""


class NoPlanError(Exception):
    """The question does not fit the table, and why. `fits`: all its words do, so that it may be the table that is meant."""

    def __init__(self, reason: str, *, fits: bool = True) -> None:
        super().__init__(reason)
        self.fits = fits


def plans(question: Question, table: Table) -> list[Plan]:
    """All readings of the question over this table; none where it cannot be read. Raises NoPlanError with the reason."""
    reader = Reader(question.words, question.language, table)
    readings = list(_readings(question, reader))
    if not readings:
        raise NoPlanError("too many readings")
    return [_Planner(question, table, reader, items).plan() for items in readings]


def _readings(question: Question, reader: Reader) -> Iterator[list[Item]]:
    """Sequences of items; a word that may be two things gives a sequence for each."""
    places = set(question.rest)
    choices: list[list[Item]] = []
    taken = ""
    place = 0
    count = 1
    while place < len(question.words):
        if place not in places:
            if any(one.kind in (Kind.COLUMN, Kind.VALUE) and one.whole for one in _content(question, reader, place)):
                taken = question.words[place].text
            place += 1
            continue
        found = _sensible(reader.at(place), question, place)
        if not found:
            part = reader.part(place)
            if part is None:
                raise NoPlanError(f"{question.words[place].text!r} is not accounted for", fits=False)
            found = [part]
        if any(at not in places for at in range(place, found[0].end)):
            raise NoPlanError(f"{question.words[place].text!r} goes on over other words")
        choices.append(found)
        count *= len(found)
        place = found[0].end
    if taken:
        raise NoPlanError(f"{taken!r} is also a column or a value")
    if count <= MOST_READINGS:
        yield from (list(reading) for reading in product(*choices))


def _content(question: Question, reader: Reader, place: int) -> list[Item]:
    """What a word that says what to do could be as well; words like "which" could be nothing else."""
    word = question.words[place]
    return [] if (word.key,) in question.language.function else reader.at(place)


def _sensible(found: Sequence[Item], question: Question, place: int) -> list[Item]:
    """Of the things that the same words may be, those that have to be tried."""
    by_kind = {one.kind: one for one in found}
    text = question.words[place].text
    value, column = by_kind.get(Kind.VALUE), by_kind.get(Kind.COLUMN)
    if column is not None and Kind.HEAD in by_kind:
        by_kind.pop(Kind.HEAD)  # a column of that name says it better
    if column is not None or value is not None or Kind.HEAD in by_kind:
        by_kind.pop(Kind.NAME, None)
    if column is not None and column.whole:
        by_kind.pop(Kind.FUNCTION, None)
    elif Kind.FUNCTION in by_kind:
        by_kind.pop(Kind.COLUMN, None)
        if value is not None and not text.islower():
            by_kind.pop(Kind.FUNCTION)  # IT, the department
        elif value is not None and place + 1 < len(question.words) and not any(text in cells for cells in value.cells.values()):
            by_kind.pop(Kind.VALUE)  # in, where a cell says IN, and more follows
    if Kind.MEASURE in by_kind:
        measure = by_kind[Kind.MEASURE].measure
        assert measure is not None
        if not measure.bare:
            return [by_kind[Kind.MEASURE]]
        if value is not None or Kind.NAME in by_kind:
            by_kind.pop(Kind.MEASURE)
    for kind in (Kind.AND, Kind.OR, Kind.ROWS, Kind.DISTINCT):
        if kind in by_kind and value is None and column is None:
            return [by_kind[kind]]
    return list(by_kind.values())


class _Planner:
    """One reading of the question, bound to the columns of the table."""

    def __init__(self, question: Question, table: Table, reader: Reader, items: Sequence[Item]) -> None:
        self._question = question
        self._table = table
        self._reader = reader
        self._items = [item for item in items if item.kind is not Kind.FUNCTION]
        self._bound: set[int] = set()
        self._conditions: list[tuple[int, Condition]] = []
        """With the place of its item."""

    def plan(self) -> Plan:
        self._bind()
        free = [at for at, item in enumerate(self._items) if item.kind is Kind.COLUMN and at not in self._bound]
        rest = [item for item in self._items if item.kind in (Kind.HEAD, Kind.ROWS, Kind.DISTINCT)]
        make: dict[str, Callable[[list[int], list[Item]], Plan]] = {"count": self._count, "list": self._list}
        return make.get(self._question.operation, self._aggregate)(free, rest)

    # -- conditions

    def _bind(self) -> None:
        for at, item in enumerate(self._items):
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
        if at and self._items[at - 1].kind is Kind.COLUMN and at - 1 not in self._bound:
            found.append(at - 1)
        if (
            at + 1 < len(self._items)
            and self._items[at + 1].kind is Kind.COLUMN
            and self._items[at + 1].start == self._items[at].end
        ):
            found.append(at + 1)
        return found

    def _bind_value(self, at: int, item: Item) -> None:
        if not item.columns:
            raise NoPlanError("a value may be one of several")
        for neighbour in self._neighbours(at):
            there = [column for column in self._items[neighbour].columns if column in item.columns]
            if len(self._items[neighbour].columns) == 1 and there:
                self._bound.add(neighbour)
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
        cells = item.cells[column] if within else same_value(self._table, column, item.cells[column])
        self._conditions.append((at, one_of(self._table, column, cells, within=within)))

    def _bind_measure(self, at: int, item: Item) -> None:
        measure = item.measure
        assert measure is not None
        neighbours = [one for one in self._neighbours(at) if len(self._items[one].columns) == 1]
        fits = [(one, made) for one in neighbours if (made := compared(self._table, self._items[one].columns[0], measure))]
        if len(fits) == 1:
            self._bound.add(fits[0][0])
            self._conditions.append((at, fits[0][1]))
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
        self._conditions.append((at, everywhere[0]))

    def _same_as_before(self, at: int) -> int | None:
        """ "above 10 and below 20": the second speaks of the first one's column."""
        if at >= 2 and self._items[at - 1].kind is Kind.AND and self._items[at - 2].kind is Kind.MEASURE:
            return next(condition.column for place, condition in self._conditions if place == at - 2)
        return None

    def _check_or(self, at: int) -> None:
        around = self._items[at - 1 : at + 2]
        if at == 0 or len(around) != 3 or any(one.kind is not Kind.VALUE for one in (around[0], around[2])):
            raise NoPlanError("an or between conditions")

    def _unite(self) -> None:
        """Values of one column that are joined by and or or: rows may hold any of them."""
        made: list[tuple[int, Condition]] = []
        by_column: dict[int, list[tuple[int, Condition]]] = {}
        for at, condition in self._conditions:
            if condition.cells is None:
                made.append((at, condition))
            else:
                by_column.setdefault(condition.column, []).append((at, condition))
        if sum(len(some) > 1 for some in by_column.values()) > 1:
            raise NoPlanError("values of several columns that may belong together in pairs")
        self._check_ranges()
        for some in by_column.values():
            if len(some) > 1:
                between = self._items[some[0][0] : some[-1][0] + 1]
                if any(one.kind not in (Kind.VALUE, Kind.AND, Kind.OR) for one in between) or len(between) < len(some) + 1:
                    raise NoPlanError("two values of one column")
                if any(condition.within for _, condition in some):
                    raise NoPlanError("several values in cells with several values")
            made.append((some[0][0], united([condition for _, condition in some])))
        joined = [at for at, item in enumerate(self._items) if item.kind is Kind.OR]
        for at in joined:
            columns = {condition.column for place, condition in self._conditions if place in (at - 1, at + 1)}
            if len(columns) != 1:
                raise NoPlanError("an or between two columns")
        self._conditions = sorted(made, key=lambda one: one[0])

    def _check_ranges(self) -> None:
        """Two comparisons with one column are a range or nothing: "before 2016 and after 2020" means either, not both."""
        by_column: dict[int, list[Measure]] = {}
        for at, condition in self._conditions:
            measure = self._items[at].measure
            if measure is not None:
                by_column.setdefault(condition.column, []).append(measure)
        for some in by_column.values():
            if len(some) == 1:
                continue
            bounds = {one.sign[0]: one.first[:1] if one.first else (one.low or 0.0,) for one in some}
            if len(some) != 2 or set(bounds) != {"<", ">"} or bounds[">"] > bounds["<"]:
                raise NoPlanError("two comparisons with one column")

    # -- operations

    def _count(self, free: list[int], rest: list[Item]) -> Plan:
        distinct = [item for item in rest if item.kind is Kind.DISTINCT]
        if distinct:
            things = [at for at in free[1:] if not self._names_rows(self._items[at])]
            if not free or things or len(distinct) != 1 or self._items[free[0]].start != distinct[0].end:
                raise NoPlanError("different what?")
            return self._plan(label=self._only(free[0]), distinct=True)
        if len(free) > 1:
            raise NoPlanError("a column without a condition")
        if free:
            if not self._names_rows(self._items[free[0]]):
                raise NoPlanError("the column that was asked for does not tell rows apart")
        else:
            self._check_thing(rest, unique=True)
        self._check_all(free, rest)
        if any(condition.cells is not None and self._is_name(condition.column) for _, condition in self._conditions):
            raise NoPlanError("one row is named, and something of it is asked for")
        return self._plan()

    def _list(self, free: list[int], rest: list[Item]) -> Plan:
        if any(item.kind is Kind.DISTINCT for item in rest):
            rest = [item for item in rest if item.kind is not Kind.DISTINCT]
        if self._question.extreme:
            return self._extreme(free, rest)
        leading = self._leading(free)
        if len(leading) < len(free) or (self._question.which and len(leading) > 1):
            raise NoPlanError("a column without a condition")
        self._check_all(leading, rest)
        if not leading:
            return self._plan(label=self._check_thing(rest, unique=False))
        columns = [self._only(at) for at in leading]
        if self._question.which and self._is_measure(leading[0]):
            raise NoPlanError("a column of numbers does not name what is listed")
        distinct = len(columns) == 1 and not self._is_unique(columns[0])
        return self._plan(label=columns[0], shown=tuple(columns[1:]), distinct=distinct)

    def _leading(self, free: list[int]) -> list[int]:
        """Columns that the question begins with: "list the names and cities of …"."""
        found = []
        for at, item in enumerate(self._items):
            if at in free:
                found.append(at)
            elif item.kind is not Kind.AND:
                break
        return found

    def _extreme(self, free: list[int], rest: list[Item]) -> Plan:
        numeric = [at for at in free if self._is_measure(at)]
        others = [at for at in free if at not in numeric]
        if len(numeric) != 1 or len(others) > 1:
            raise NoPlanError("the highest what?")
        label = self._only(others[0]) if others else self._check_thing(rest, unique=False)
        self._check_all(others, rest)
        return self._plan(label=label, target=self._only(numeric[0]), extreme=self._question.extreme)

    def _aggregate(self, free: list[int], rest: list[Item]) -> Plan:
        numeric = [at for at in free if self._is_measure(at)]
        others = [at for at in free if at not in numeric]
        if len(numeric) != 1 or len(others) > 1 or any(item.kind is Kind.DISTINCT for item in rest):
            raise NoPlanError("the sum of what?")
        if others and not self._names_rows(self._items[others[0]]):
            raise NoPlanError("a column without a condition")
        self._check_all(others, rest)
        target = self._only(numeric[0])
        numbers = self._table.numbers(target)
        if self._question.operation in ("sum", "average") and numbers is not None and numbers.are_years:
            raise NoPlanError("years are not added up")
        return self._plan(target=target)

    def _plan(
        self, *, label: int | None = None, shown: tuple[int, ...] = (), target: int | None = None,
        extreme: Operation | None = None, distinct: bool = False,
    ) -> Plan:  # fmt: skip
        local = sum(item.kind is not Kind.NAME or self._is_local(item) for item in self._items)
        conditions = tuple(condition for _, condition in self._conditions)
        return Plan(self._table, self._question.operation, conditions, label, shown, target, extreme, distinct, local)

    def _is_local(self, item: Item) -> bool:
        """Whether a name is this table's, and not only its document's."""
        return any(word.stems & self._table.local_words for word in self._question.words[item.start : item.end])

    # -- what a row is

    def _only(self, at: int) -> int:
        columns = self._items[at].columns
        if len(columns) != 1:
            raise NoPlanError("several columns of that name")
        return columns[0]

    def _is_measure(self, at: int) -> bool:
        """Whether an item names a column of numbers that are not names of rows."""
        return self._table.numbers(self._only(at)) is not None and not self._names_rows(self._items[at])

    def _is_amount(self, column: int) -> bool:
        """Whether a column says how many things a row stands for."""
        named = {word.key for word in self._table.columns[column].words}
        return bool(named & AMOUNTS) and self._table.numbers(column) is not None

    def _is_name(self, column: int) -> bool:
        """Whether a cell of the column names one row."""
        named = self._table.columns[column].words
        is_number = self._table.numbers(column) is not None and not (named and named[-1].key in IDENTIFIERS)
        return self._is_unique(column) and not is_number

    def _is_unique(self, column: int) -> bool:
        cells = self._table.cells(column)
        return len(cells) > 1 and len(set(cells)) == len(cells) and not any(is_missing(cell) for cell in cells)

    def _names_rows(self, item: Item) -> bool:
        """Whether the words name a column that tells rows apart: "products" where there is a column Product, or Product name.

        A column of numbers is a measure, however its numbers differ, unless its header ends in a word for an identifier.
        """
        if len(item.columns) != 1 or not self._is_unique(item.columns[0]):
            return False
        named = self._table.columns[item.columns[0]].words
        said = frozenset(stem for word in self._question.words[item.start : item.end] for stem in word.stems)
        others = [word for word in named if not word.stems & said]
        if any(word.key not in KEY_PARTS for word in others):
            return False
        if self._table.numbers(item.columns[0]) is not None:
            return bool(others) and named[-1].key in IDENTIFIERS and named[-1] in others
        return True

    def _check_thing(self, rest: Sequence[Item], *, unique: bool) -> int | None:
        """That the question says what a row is; the column that names it."""
        heads = [item for item in rest if item.kind is Kind.HEAD]
        rows = [item for item in rest if item.kind is Kind.ROWS]
        if heads and not rows:
            if unique and any(self._is_amount(at) for at in range(len(self._table.columns))):
                raise NoPlanError("a column says how many of it each row stands for")
            label = self._key_column(unique)
            if label is None:
                raise NoPlanError("no column names what a row is")
            return label
        named = any(item.kind in (Kind.NAME, Kind.HEAD) for item in self._items)
        if rows and (named or self._conditions):
            return self._key_column(False)
        mine = any(item.kind is not Kind.NAME or self._is_local(item) for item in self._items)
        raise NoPlanError("what is counted?", fits=mine)

    def _check_all(self, named: Sequence[int], rest: Sequence[Item]) -> None:
        """That the table does not hold only some of what was asked for. Who asks for rows of a table asks for these."""
        if any(item.kind is Kind.ROWS for item in rest):
            return
        words = self._question.words
        said = frozenset(stem for word in words for stem in word.stems)
        for item in [*(self._items[at] for at in named), *(item for item in rest if item.kind is Kind.HEAD)]:
            thing = frozenset(stem for word in words[item.start : item.end] for stem in word.stems)
            if not self._table.covers(thing, said):
                raise NoPlanError("the table holds only some of them")

    def _key_column(self, unique: bool) -> int | None:
        """A column that is headed Name, ID or the like."""
        keys = [at for at, column in enumerate(self._table.columns) if tuple(word.key for word in column.words) in GENERIC_KEYS]
        if unique and not any(self._is_unique(at) for at in keys):
            return None
        wordy = [at for at in keys if self._table.columns[at].words[-1].key not in IDENTIFIERS]
        return next(iter(wordy or keys), None)
