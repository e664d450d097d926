"""Numbers and dates in cells and questions, read as values. What can be read in two ways is not read at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import regex

from ckllm.records.vocabulary import ENGLISH, FRENCH, GERMAN, HINDI, MISSING, SPANISH, UNITS
from ckllm.records.words import folded, phrase

Day: TypeAlias = tuple[int, int, int]
"""Year, month, day; 0 for what is not said."""

_NUMBER = regex.compile(
    r"(?P<sign>[-−+])?\s?(?P<before>[€$£¥₹])?\s?(?P<minus>[-−])?(?P<digits>\d+(?:[.,'’\u00a0\u202f ]\d+)*)"
    r"\s?(?P<after>%|[€$£¥₹]|[\p{L}²³°/]{1,12})?"
)
_COMMA_THOUSANDS = regex.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})*,\d{3}")
_DOT_THOUSANDS = regex.compile(r"\d{1,3}(?:\.\d{3})+")
_SPACED = regex.compile(r"(?<=\d)['’\u00a0\u202f ](?=\d{3}(?!\d))")
_OTHER_SIGN = regex.compile(r"[^\d.,]")
_ISO = regex.compile(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?(?:[T ]\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?Z?)?")
_DOTTED = regex.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_SLASHED = regex.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})")
_NAMED = regex.compile(
    r"(?:(\d{1,2})(?:st|nd|rd|th|\.|er|º)?\s+(?:de\s+)?)?(\p{L}[\p{L}\p{M}]*)\.?(?:\s+(\d{1,2})(?:st|nd|rd|th)?)?,?\s+(?:de\s+)?(\d{4})"
)
_MONTHS: Mapping[str, int] = {
    name: number for language in (ENGLISH, SPANISH, GERMAN, FRENCH, HINDI) for (name, *_), number in language.months.items()
}
YEARS = range(1800, 2101)
"""Whole numbers that a column of years may hold."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column as numbers, by cell as it is written; None for cells that hold nothing."""

    by_cell: Mapping[str, float | None]
    unit: str

    @property
    def are_years(self) -> bool:
        known = [value for value in self.by_cell.values() if value is not None]
        return bool(known) and all(value.is_integer() and int(value) in YEARS for value in known)


def is_missing(cell: str) -> bool:
    return cell.strip().casefold() in MISSING


def numbers(cells: Iterable[str], comma_is_decimal: bool | None) -> Numbers | None:
    """Distinct cells as numbers of one unit; None where one is no number, or says two things.

    `comma_is_decimal` decides "1,234" and "1.234" where no cell of the column does; None: nobody knows.
    """
    parts: dict[str, tuple[str, str, float] | None] = {}
    for cell in cells:
        if cell.isdecimal() and cell.isascii():
            parts[cell] = cell, "", 1.0
        elif is_missing(cell):
            parts[cell] = None
        elif (part := _split(folded(cell))) is None:
            return None
        else:
            parts[cell] = part
    known = [part for part in parts.values() if part is not None]
    units = {unit for _, unit, _ in known}
    if not known or len(units) > 1:
        return None
    comma = _comma_is_decimal([digits for digits, _, _ in known], comma_is_decimal)
    values: dict[str, float | None] = {}
    for cell, part in parts.items():
        if part is None:
            values[cell] = None
        elif part[0].isdecimal():
            values[cell] = part[2] * float(part[0])
        elif (value := _value(part[0], comma)) is None:
            return None
        else:
            values[cell] = part[2] * value
    return Numbers(values, units.pop())


def number(text: str, comma_is_decimal: bool) -> float | None:
    """A number of a question."""
    part = _split(folded(text))
    if part is None or part[1]:
        return None
    value = _value(part[0], _comma_is_decimal([part[0]], comma_is_decimal))
    return None if value is None else part[2] * value


def says_comma(cell: str) -> bool | None:
    """Whether a cell, by itself, shows that its comma is a decimal sign; None where it shows nothing."""
    match = _NUMBER.fullmatch(folded(cell.strip())) if "," in cell or "." in cell or (cell and cell[0] in "€$£") else None
    if match is None:
        return None
    own = _comma_is_decimal([_SPACED.sub("", match["digits"])], None)
    if own is not None and ("," in cell or "." in cell):
        return own
    return False if match["before"] else None  # € 52,000 is written where 52.000 € is not


def unit(word: str) -> str:
    """One form for the names of a unit."""
    return UNITS.get(word, word)


def _split(cell: str) -> tuple[str, str, float] | None:
    """Digits, unit and sign of a cell that is one number."""
    match = _NUMBER.fullmatch(cell.strip())
    if match is None or (match["before"] and match["after"]) or (match["sign"] and match["minus"]):
        return None
    sign = -1.0 if match["minus"] or match["sign"] in ("-", "−") else 1.0
    digits = _SPACED.sub("", match["digits"])
    if _OTHER_SIGN.search(digits):
        return None
    return digits, unit(match["before"] or match["after"] or ""), sign


def _comma_is_decimal(digits: Iterable[str], otherwise: bool | None) -> bool | None:
    """How the column writes its numbers; None where its cells contradict each other, or nothing tells."""
    says: set[bool] = set()
    unclear = False
    for one in digits:
        if one.isdecimal():
            continue
        comma, dot = one.rfind(","), one.rfind(".")
        if comma >= 0 and dot >= 0:
            says.add(comma > dot)
        elif comma >= 0:
            if not _COMMA_THOUSANDS.fullmatch(one) or one.startswith("0"):
                says.add(True)
            elif one.count(",") > 1:
                says.add(False)
            else:
                unclear = True
        elif dot >= 0:
            if not _DOT_THOUSANDS.fullmatch(one) or one.startswith("0"):
                says.add(False)
            elif one.count(".") > 1:
                says.add(True)
            else:
                unclear = True
    if len(says) > 1:
        return None
    if says:
        return says.pop()
    return otherwise if unclear else False


def _value(digits: str, comma_is_decimal: bool | None) -> float | None:
    if comma_is_decimal is None:
        return None
    thousands, decimal = (".", ",") if comma_is_decimal else (",", ".")
    if digits.count(decimal) > 1:
        return None
    whole, _, rest = digits.partition(decimal)
    grouped = _DOT_THOUSANDS if comma_is_decimal else _COMMA_THOUSANDS
    if thousands in rest or (thousands in whole and not grouped.fullmatch(whole)):
        return None
    return float(whole.replace(thousands, "") + ("." + rest if rest else ""))


# ------------------------------------------------------------------------------------------------ dates


def dates(cells: Iterable[str]) -> dict[str, Day | None] | None:
    """Distinct cells as dates, None for those that hold nothing; None where one is no date, or day and month are unclear."""
    found: dict[str, Day | None] = {}
    slashed: dict[str, tuple[int, int, int]] = {}
    for cell in cells:
        text = folded(cell.strip())
        if is_missing(cell):
            found[cell] = None
        elif match := _SLASHED.fullmatch(text):
            slashed[cell] = int(match[1]), int(match[2]), int(match[3])
        elif (day := date(text)) is not None and day[0] and day[1]:
            found[cell] = day
        else:
            return None
    if slashed:
        first_is_day = any(one > 12 for one, _, _ in slashed.values())
        second_is_day = any(two > 12 for _, two, _ in slashed.values())
        if first_is_day == second_is_day:
            return None
        for cell, (one, two, year) in slashed.items():
            day = (year, two, one) if first_is_day else (year, one, two)
            if not _possible(day):
                return None
            found[cell] = day
    return found if any(day is not None for day in found.values()) else None


def date(text: str) -> Day | None:
    """A date, or a month of a year, as one text; the parts that it does not say are 0."""
    text = folded(text.strip())
    if match := _ISO.fullmatch(text):
        day = int(match[1]), int(match[2]), int(match[3] or 0)
    elif match := _DOTTED.fullmatch(text):
        day = int(match[3]), int(match[2]), int(match[1])
    elif (match := _NAMED.fullmatch(text)) and not (match[1] and match[3]):
        month = _MONTHS.get("".join(phrase(match[2])), 0)
        if not month:
            return None
        day = int(match[4]), month, int(match[1] or match[3] or 0)
    else:
        return None
    return day if _possible(day) else None


def _possible(day: Day) -> bool:
    return 1000 <= day[0] <= 2999 and 1 <= day[1] <= 12 and 0 <= day[2] <= 31
