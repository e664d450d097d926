"""From a plan to the rows that answer it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ckllm.records.plan import Plan
from ckllm.records.values import is_missing


@dataclass(frozen=True, slots=True)
class Result:
    """`rows` are those that were counted, listed or summed, in the table's order."""

    plan: Plan
    rows: tuple[int, ...]
    of: int
    """Rows of the table."""
    value: float | None = None
    """Count, sum, average or extreme; None for a list."""
    unit: str = ""
    left_out: int = 0
    """Rows that say nothing of a compared or summed column, and fulfil every other condition."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for readings that come to the same."""
        labels = None if self.plan.label is None else tuple(self.plan.table.cells(self.plan.label)[row] for row in self.rows)
        return self.plan.operation, self.rows, self.value, self.plan.distinct, labels, self.plan.shown, self.left_out


def computed(plan: Plan) -> Result | None:
    """None where the rows do not give an answer: nothing to sum, nothing to name."""
    table = plan.table
    rows = list(range(len(table.rows)))
    doubtful = rows
    for condition in plan.conditions:
        cells = table.cells(condition.column)
        maybe = condition.kept | condition.unknown
        doubtful = (
            [row for row in doubtful if cells[row] in maybe]
            if condition.unknown
            else [row for row in doubtful if cells[row] in condition.kept]
        )
        rows = [row for row in rows if cells[row] in condition.kept]
    left_out = len(doubtful) - len(rows)
    if plan.target is not None:
        return _over_target(plan, rows, left_out)
    if plan.distinct:
        rows, missing = _first_of_each(plan, rows)
        left_out += missing
    elif plan.operation == "list" and plan.label is not None:
        named = [row for row in rows if not is_missing(table.cells(plan.label)[row])]
        if len(named) < len(rows):
            return None
    value = float(len(rows)) if plan.operation == "count" else None
    return Result(plan, tuple(rows), len(table.rows), value, left_out=left_out)


def _first_of_each(plan: Plan, rows: Sequence[int]) -> tuple[list[int], int]:
    """The first row of every value of the label, and how many rows have none."""
    assert plan.label is not None
    cells = plan.table.cells(plan.label)
    first: dict[str, int] = {}
    missing = 0
    for row in rows:
        if is_missing(cells[row]):
            missing += 1
        else:
            first.setdefault(cells[row].strip().casefold(), row)
    return list(first.values()), missing


def _over_target(plan: Plan, rows: Sequence[int], left_out: int) -> Result | None:
    assert plan.target is not None
    table = plan.table
    numbers, cells = table.numbers(plan.target), table.cells(plan.target)
    if numbers is None:
        return None
    known = [(row, value) for row in rows if (value := numbers.by_cell[cells[row]]) is not None]
    if not known:
        return None
    left_out += len(rows) - len(known)
    values = [value for _, value in known]
    operation = plan.extreme or plan.operation
    if operation == "sum":
        value = math.fsum(values)
    elif operation == "average":
        value = math.fsum(values) / len(values)
    else:
        value = max(values) if operation == "maximum" else min(values)
        known = [(row, number) for row, number in known if number == value]
    return Result(plan, tuple(row for row, _ in known), len(table.rows), value, table.unit(plan.target), left_out)
