"""What makes the rows of a table uncertain: rows that may be headings, sums of others, or only a part of a table."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.records.cells import MOST_COLUMNS
from ckllm.records.values import is_missing
from ckllm.records.vocabulary import SUMS, TOTALS
from ckllm.records.words import folded
from ckllm.store.catalogue_rows import RowedText

LONGEST_TOTAL = 40
"""Characters of a first cell that may say that a row sums up others."""
_SUM = regex.compile(
    rf"^(?:{'|'.join(SUMS)})\b|\b(?:{'|'.join(SUMS)})\W*$|^(?:sum|average) of\b|^all\s|^world\W*$|^[Σ∑]", regex.IGNORECASE
)
"""Of a cell that says that its row sums up others."""
_TOTAL_STARTS = frozenset(word[:3] for word in TOTALS)


def certain(names: Sequence[str], rows: Sequence[Sequence[str]], records: bool) -> bool:
    """Whether every row has the form of a row: not more cells than the header, and more than one."""
    width = len(names)
    if not 1 <= width <= MOST_COLUMNS or not any(names):
        return False
    if records:
        return True
    # a row with one cell may be a heading within the table, or a remark below it
    return width >= 2 and all(len(row) <= width and len(row) - row.count("") > 1 for row in rows)


def is_cut(content: RowedText, at: int) -> bool:
    """Whether a neighbour follows or precedes with nothing between: a blank row may have cut one table in two."""
    one = content.row_sets[at]
    if one.records:
        return False
    before = content.row_sets[at - 1] if at else None
    after = content.row_sets[at + 1] if at + 1 < len(content.row_sets) else None
    return (before is not None and not content.text[before.end : one.start].strip()) or (
        after is not None and not content.text[one.end : after.start].strip()
    )


def sum_row(rows: Sequence[Sequence[str]]) -> int | None:
    """The first row that says that it sums up others: "Total", "Total 2023", "All"."""
    for at, row in enumerate(rows):
        first = row[0] or next(cell for cell in row if cell)
        if first[:3].lower() in _TOTAL_STARTS and len(first) <= LONGEST_TOTAL:
            parts = folded(first).replace(":", " ").replace("-", "").split()
            if parts[0] in SUMS or all(part in TOTALS for part in parts):
                return at
        if any(len(cell) <= LONGEST_TOTAL and _SUM.search(cell) for cell in row):
            return at
    return None


def adds_up(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the last row is the sum of those above it in some column of plain numbers."""
    width = max(map(len, rows))
    for column in range(width):
        try:
            values = [float(row[column].replace(",", "")) for row in rows if column < len(row) and not is_missing(row[column])]
        except ValueError:
            continue
        if len(values) > 2 and abs(sum(values[:-1]) - values[-1]) < 1e-6 * max(1.0, abs(values[-1])):
            return True
    return False
