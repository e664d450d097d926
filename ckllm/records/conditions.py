"""Conditions on the cells of one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import regex

from ckllm.records.parts import Measure
from ckllm.records.table import Table
from ckllm.records.values import Day
from ckllm.records.vocabulary import Comparison

_MAGNITUDE = regex.compile(
    r"\S\s*\b(?:k|m)\b|[€$£]m\b|\b(?:k|mn|mio|mrd|tsd|millions?|millionen|millones|thousands?|tausend|miles|milliers|bn|billions?)\b|000",
    regex.IGNORECASE,
)
"""Of a column's unit that its numbers are to be multiplied with."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Rows are kept whose cell is among `kept`; `shown` is for people."""

    column: int
    kept: frozenset[str]
    shown: str
    cells: frozenset[str] | None = None
    """The values asked for; None for a comparison."""
    within: bool = False
    unknown: frozenset[str] = frozenset()
    """Cells of a compared column that hold nothing."""


def one_of(table: Table, column: int, cells: frozenset[str], within: str = "") -> Condition:
    """`within`: the value, where each of the cells holds it among others."""
    said = f"∋ {within}" if within else f"= {min(cells, key=lambda cell: (len(cell), cell))}"
    return Condition(column, cells, f"{_name(table, column)} {said}", cells, bool(within))


def same_value(table: Table, column: int, cells: frozenset[str]) -> frozenset[str]:
    """Cells of a column of numbers or dates that say the same in other writing: 20 and 20.00."""
    values: Mapping[str, object] | None = None
    if (numbers := table.numbers(column)) is not None:
        values = numbers.by_cell
    elif (dates := table.dates(column)) is not None:
        values = dates
    if values is None:
        return cells
    wanted = {values[cell] for cell in cells}
    return frozenset(cell for cell, value in values.items() if value is not None and value in wanted)


def united(conditions: Sequence[Condition]) -> Condition:
    """Any of several values of one column."""
    first = conditions[0]
    if len(conditions) == 1:
        return first
    cells = frozenset(cell for condition in conditions for cell in condition.cells or ())
    values = " / ".join(condition.shown.split(" = ", 1)[1] for condition in conditions)
    return Condition(first.column, cells, f"{first.shown.split(' = ', 1)[0]} = {values}", cells)


def compared(table: Table, column: int, measure: Measure, *, days: bool = False) -> Condition | None:
    """The comparison over this column; None where it does not hold such values. `days`: only dates and years fit."""
    if measure.first is not None and (dates := table.dates(column)) is not None:
        return _dated(table, column, measure, dates)
    numbers = table.numbers(column)
    if numbers is None:
        return None
    if measure.first is not None and measure.low is None:
        return None
    if (days or measure.dated) and not numbers.are_years:
        return None
    if measure.unit and measure.unit not in (numbers.unit, table.unit(column)):
        return None
    if measure.low is None or (not measure.unit and _MAGNITUDE.search(table.columns[column].unit)):
        return None
    low, high = measure.low, measure.high
    if high is not None and high < low:
        return None
    kept = frozenset(
        cell for cell, value in numbers.by_cell.items() if value is not None and _holds(measure.sign, value, low, high)
    )
    unknown = frozenset(cell for cell, value in numbers.by_cell.items() if value is None)
    shown = f"{plain(low)}–{plain(high)}" if high is not None else f"{measure.sign} {plain(low)}"
    return Condition(
        column, kept, f"{_name(table, column)} {shown}" + (f" {measure.unit}" if measure.unit else ""), None, False, unknown
    )


def plain(value: float) -> str:
    """A number without needless zeros or an exponent: four decimals, and of what is smaller than one four digits."""
    if value and abs(value) < 1:
        return f"{Decimal(f'{value:.4g}').normalize():f}"
    rounded = round(value, 4)
    return str(int(rounded)) if rounded.is_integer() else f"{Decimal(repr(rounded)):f}"


def _holds(sign: Comparison, value: float, low: float, high: float | None) -> bool:
    if sign == "between":
        return high is not None and low <= value <= high
    return {"<": value < low, "<=": value <= low, "=": value == low, ">=": value >= low, ">": value > low}[sign]


def _dated(table: Table, column: int, measure: Measure, dates: dict[str, Day | None]) -> Condition | None:
    first, last = measure.first, measure.last
    assert first is not None
    if not first[0] and measure.sign != "=":
        return None  # before March, of which year?
    if last is not None and (not last[0] or last < first):
        return None
    kept = set()
    for cell, day in dates.items():
        if day is None:
            continue
        if any(asked and not said for asked, said in zip(first, day, strict=True)):
            return None  # the cells say less than was asked
        if _in_time(measure.sign, day, first, last):
            kept.add(cell)
    shown = f"{_day(first)}–{_day(last)}" if last else f"{measure.sign} {_day(first)}"
    unknown = frozenset(cell for cell, day in dates.items() if day is None)
    return Condition(column, frozenset(kept), f"{_name(table, column)} {shown}", None, False, unknown)


def _in_time(sign: Comparison, day: Day, first: Day, last: Day | None) -> bool:
    """Compared as far as the question goes: every day of 2020 is in 2020, none of them before or after it."""
    if sign == "=":
        return all(asked in (0, said) for asked, said in zip(first, day, strict=True))
    known = tuple(part for part in first if part)
    there = day[: len(known)]
    if sign == "between":
        assert last is not None
        until = tuple(part for part in last if part)
        return known <= there and day[: len(until)] <= until
    return {"<": there < known, "<=": there <= known, ">=": there >= known, ">": there > known}[sign]


def _day(day: Day) -> str:
    return "-".join(f"{part:02d}" for part in day if part) if day[0] else f"*-{day[1]:02d}"


def _name(table: Table, column: int) -> str:
    return table.columns[column].name or f"#{column + 1}"
