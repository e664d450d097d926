"""From the words of a question to conditions on the columns of one table.

Every word has to be accounted for: as a word of the language that says nothing by itself, as what the table is called, as the
thing that its rows are, or as part of a condition on a column that is certain. One word left over, one column that is named
without a condition, one value that stands in two columns, and there is no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckllm.records.binding import Binding
from ckllm.records.conditions import Condition
from ckllm.records.parts import Item, Kind, Reader
from ckllm.records.question import Question
from ckllm.records.readings import NoPlanError, readings
from ckllm.records.table import Table
from ckllm.records.values import is_missing
from ckllm.records.vocabulary import GENERIC_KEYS, IDENTIFIERS, KEY_PARTS, Operation

__all__ = ["NoPlanError", "Plan", "plans"]

AMOUNTS = frozenset(
    [
        "number", "quantity", "qty", "count", "counts", "stock", "pieces", "pcs", "units", "copies", "anzahl", "menge", "stuck",
        "stuckzahl", "bestand", "cantidad", "unidades", "existencias", "numero", "quantite", "nombre", "effectif", "unites",
    ]
)  # fmt: skip
"""Words of headers that say how many things a row stands for."""


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


def plans(question: Question, table: Table) -> list[Plan]:
    """All readings of the question over this table; none where it cannot be read. Raises NoPlanError with the reason."""
    reader = Reader(question.words, question.language, table)
    found = list(readings(question, reader))
    if not found:
        raise NoPlanError("too many readings")
    return [_Planner(question, table, Binding(question, table, reader, items)).plan() for items in found]


class _Planner:
    """What is to be done with the rows that one reading's conditions choose."""

    def __init__(self, question: Question, table: Table, binding: Binding) -> None:
        self._question = question
        self._table = table
        self._binding = binding

    def plan(self) -> Plan:
        items, bound = self._binding.items, self._binding.bound
        free = [at for at, item in enumerate(items) if item.kind is Kind.COLUMN and at not in bound]
        rest = [item for item in items if item.kind in (Kind.HEAD, Kind.ROWS, Kind.DISTINCT)]
        make: dict[str, Callable[[list[int], list[Item]], Plan]] = {"count": self._count, "list": self._list}
        return make.get(self._question.operation, self._aggregate)(free, rest)

    def _count(self, free: list[int], rest: list[Item]) -> Plan:
        distinct = [item for item in rest if item.kind is Kind.DISTINCT]
        if distinct:
            things = [at for at in free[1:] if not self._names_rows(self._binding.items[at])]
            if not free or things or len(distinct) != 1 or self._binding.items[free[0]].start != distinct[0].end:
                raise NoPlanError("different what?")
            return self._plan(label=self._only(free[0]), distinct=True)
        if len(free) > 1:
            raise NoPlanError("a column without a condition")
        if free:
            if not self._names_rows(self._binding.items[free[0]]):
                raise NoPlanError("the column that was asked for does not tell rows apart")
        else:
            self._check_thing(rest, unique=True)
        self._check_all(free, rest)
        if any(condition.cells is not None and self._is_name(condition.column) for condition in self._binding.conditions):
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
        for at, item in enumerate(self._binding.items):
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
        if others and not self._names_rows(self._binding.items[others[0]]):
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
        local = sum(item.kind is not Kind.NAME or self._is_local(item) for item in self._binding.items)
        conditions = self._binding.conditions
        return Plan(self._table, self._question.operation, conditions, label, shown, target, extreme, distinct, local)

    def _is_local(self, item: Item) -> bool:
        """Whether a name is this table's, and not only its document's."""
        return any(word.stems & self._table.local_words for word in self._question.words[item.start : item.end])

    # -- what a row is

    def _only(self, at: int) -> int:
        columns = self._binding.items[at].columns
        if len(columns) != 1:
            raise NoPlanError("several columns of that name")
        return columns[0]

    def _is_measure(self, at: int) -> bool:
        """Whether an item names a column of numbers that are not names of rows."""
        return self._table.numbers(self._only(at)) is not None and not self._names_rows(self._binding.items[at])

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
        named = any(item.kind in (Kind.NAME, Kind.HEAD) for item in self._binding.items)
        if rows and (named or self._binding.conditions):
            return self._key_column(False)
        mine = any(item.kind is not Kind.NAME or self._is_local(item) for item in self._binding.items)
        raise NoPlanError("what is counted?", fits=mine)

    def _check_all(self, named: Sequence[int], rest: Sequence[Item]) -> None:
        """That the table does not hold only some of what was asked for. Who asks for rows of a table asks for these."""
        if any(item.kind is Kind.ROWS for item in rest):
            return
        words = self._question.words
        said = frozenset(stem for word in words for stem in word.stems)
        for item in [*(self._binding.items[at] for at in named), *(item for item in rest if item.kind is Kind.HEAD)]:
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
