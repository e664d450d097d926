"""Cells that span rows of a table: each stands in all of them, because a row has to make sense alone."""

from __future__ import annotations


class RowSpans:
    """What reaches down into the rows to come, while they are read one after the other."""

    def __init__(self) -> None:
        self._below: dict[int, tuple[int, str]] = {}
        """Column → in how many more rows its cell stands, and its text."""

    def begin(self, column: int, text: str, rows: int) -> None:
        """A cell that stands in this row and, of more `rows` than one, in those below."""
        if rows > 1:
            self._below[column] = (rows - 1, text)

    def taken(self, column: int) -> str:
        """The text of the cell that reaches into this row; "" where none does."""
        left, text = self._below.pop(column, (0, ""))
        self.begin(column, text, left)
        return text

    def covers(self, column: int) -> bool:
        return column in self._below

    @property
    def width(self) -> int:
        """How many columns there are up to the last cell that reaches into the next row."""
        return max(self._below, default=-1) + 1
