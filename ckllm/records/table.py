"""A stored table or record set as columns of cells, read back from the text of its document; refused where its rows are not
certain.

Nothing is guessed: a row with more cells than the header, a row that may be a heading within the table or a sum of others, a
table that a blank row may have cut in two, make the table useless for counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import PurePosixPath

import regex

from ckllm.contracts import RowSet
from ckllm.records import values
from ckllm.records.cells import record_cells, table_cells
from ckllm.records.doubts import adds_up, certain, is_cut, sum_row
from ckllm.records.values import Day, Numbers
from ckllm.records.vocabulary import GENERIC_NAMES, GROUPED, JOINING, TITLE_BREAKS
from ckllm.records.words import Word, folded, spaced, words
from ckllm.store.catalogue_rows import Rowed, RowedText

MOST_ROWS = 200_000
MOST_CHARACTERS = 40_000_000
CAPTION_WORDS = 10
"""Words of the line before a table up to which it is taken for its caption."""
_CAPTION_LENGTH = 160
SAMPLE = 200
"""Rows that are asked how the table writes its numbers."""
POINT = frozenset(["en", "hi", "zh", "ja", "ko", "th"])
COMMA = frozenset(["de", "es", "fr", "it", "pt", "nl", "pl", "ru", "tr", "da", "id", "el"])
"""Languages by the sign before decimals."""
_MARKDOWN = "text/markdown"
EXACT = frozenset(
    [
        "text/csv", "text/tab-separated-values", "text/html", _MARKDOWN, "application/json", "application/jsonl",
        "application/vnd.ms-excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.text",
    ]
)  # fmt: skip
"""Formats that say what a row is. In a PDF rows are told by their looks, and tables end with the page."""
_UNIT = regex.compile(r"[(\[]\s*([^()\[\]]{1,12})\s*[)\]]\s*$|\b(?:in|en)\s+([€$£¥₹%]|\p{L}{1,3})$")
CUT_OFF = "cut off"
"""In the warnings of documents of which not all rows were taken over."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name as it is shown, its words, and the unit that it gives."""

    name: str
    words: tuple[Word, ...]
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """`starts[i]` is where row i stands; rows of the header are not among them."""

    rowed: Rowed
    text: str
    row_set: RowSet
    columns: tuple[Column, ...]
    rows: list[list[str]]
    starts: tuple[int, ...]
    names: tuple[str, ...]
    """What the table is called: caption, heading, and title and file name where the document holds nothing else."""
    around: tuple[str, ...]
    """What else stands above it: title of a document with several tables, outer headings."""
    langs: tuple[str, ...]
    lists: frozenset[int] = frozenset()
    """Columns whose cells are lists: several values, separated by commas."""
    shown: str = ""
    """The name for people, where it is not the first of `names`."""
    _cells: dict[int, list[str]] = field(default_factory=dict, compare=False)
    _numbers: dict[int, Numbers | None] = field(default_factory=dict, compare=False)
    _dates: dict[int, dict[str, Day | None] | None] = field(default_factory=dict, compare=False)

    def cells(self, column: int) -> list[str]:
        """The column's cells, "" where a row ends before it."""
        if column not in self._cells:
            self._cells[column] = [row[column] if column < len(row) else "" for row in self.rows]
        return self._cells[column]

    def may_be_grouped(self, column: int) -> bool:
        """Whether a value of the column may be written once for several rows, and hold for the empty cells below it too: no value
        stands in two rows that follow each other.
        """
        cells = self.cells(column)
        written = [cell for cell in cells if cell]
        if self.row_set.records or len(written) == len(cells) or not cells[0]:
            return False
        return all(one != other for one, other in pairwise(written))

    def numbers(self, column: int) -> Numbers | None:
        """The column as numbers; None where it does not hold numbers of one unit."""
        if column not in self._numbers:
            self._numbers[column] = values.numbers(set(self.cells(column)), self.decimal_comma)
        return self._numbers[column]

    def dates(self, column: int) -> dict[str, Day | None] | None:
        """The column as dates by cell; None where it does not hold dates."""
        if column not in self._dates:
            self._dates[column] = values.dates(set(self.cells(column)))
        return self._dates[column]

    def unit(self, column: int) -> str:
        """The unit that the header or the cells give."""
        found = self.numbers(column)
        return values.unit(self.columns[column].unit) or (found.unit if found else "")

    @cached_property
    def decimal_comma(self) -> bool | None:
        """Whether "1,234" is a decimal fraction, where a column does not say so itself: as its neighbours write numbers, or as
        both the document's and the question's language do. None where that is not known.
        """
        said = {
            comma
            for column in range(len(self.columns))
            for cell in self.cells(column)[:SAMPLE]
            if (comma := values.says_comma(cell)) is not None
        }
        if said:
            return said.pop() if len(said) == 1 else None
        if set(self.langs) <= POINT:
            return False
        return True if set(self.langs) <= COMMA else None

    @cached_property
    def name(self) -> str:
        """For people."""
        return self.shown or next(iter(self.names), "") or self.rowed.title or self.rowed.source

    @cached_property
    def name_words(self) -> tuple[Word, ...]:
        return tuple(word for name in (*self.names, *self.around) for word in words(spaced(name), self.langs))

    @cached_property
    def local_words(self) -> frozenset[str]:
        """Stems of what only this table is called."""
        return frozenset(stem for name in self.names for word in words(spaced(name), self.langs) for stem in word.stems)

    def heads(self, head_first: bool) -> list[Word]:
        """The word of each name that says what its rows are: the noun of "staff list 2023", of "employees of the bank"."""
        found = []
        for name in self.names:
            if any(word.key in GROUPED for word in words(name)):
                continue
            if head := _head(words(spaced(name), self.langs), head_first):
                found.append(head)
        return found

    def covers(self, thing: frozenset[str], said: frozenset[str]) -> bool:
        """Whether the rows are all of that thing, as far as the table's names tell: "employees in Berlin" are some of them, and
        the question has to say so. Both are stems; numbers, such as the year of a file, may be left out.
        """
        narrowed = False
        for name in self.names:
            named = [
                word
                for word in words(spaced(name), self.langs)
                if not word.is_number and word.key not in GENERIC_NAMES | TITLE_BREAKS
            ]
            if not any(word.stems & thing for word in named):
                continue
            if all(word.stems & said for word in named):
                return True
            narrowed = True
        return not narrowed

    def span(self, row: int) -> tuple[int, int]:
        """The exact span of a row in the document's text."""
        start = self.starts[row]
        end = self.starts[row + 1] if row + 1 < len(self.starts) else self.row_set.end
        return start, start + len(self.text[start:end].rstrip())

    def header_span(self) -> tuple[int, int] | None:
        """None for records, which have no header."""
        if not self.row_set.header:
            return None
        start = self.row_set.rows[0]
        return start, start + len(self.text[start : self.row_set.rows[self.row_set.header]].rstrip())


def usable(rowed: Rowed) -> bool:
    return rowed.media_type in EXACT and not any(CUT_OFF in warning for warning in rowed.warnings)


def read(rowed: Rowed, content: RowedText, at: int, section: str, langs: tuple[str, ...]) -> Table | None:
    """Row set number `at` of a document; None where its rows are not certain."""
    one = content.row_sets[at]
    data = len(one.rows) - one.header
    if not 1 <= data <= MOST_ROWS or one.end - one.start > MOST_CHARACTERS or one.header > 2 or is_cut(content, at):
        return None
    if not one.records and not one.header:
        return None
    parsed = record_cells(content.text, one) if one.records else table_cells(content.text, one, rowed.media_type == _MARKDOWN)
    if parsed is None:
        return None
    names, rows, lists = parsed
    starts = one.rows[one.header :]
    if not certain(names, rows, one.records):
        return None
    if not one.records and (sums := sum_row(rows)) is not None:
        if sums < len(rows) - 1 or not adds_up(rows):
            return None
        rows, starts = rows[:-1], starts[:-1]
        one = RowSet(one.start, one.rows[-1], one.rows[:-1], one.header)
    if not rows:
        return None
    columns = tuple(_column(name, langs) for name in names)
    called, around = _called(rowed, content, at, section)
    return Table(rowed, content.text, one, columns, rows, starts, called, around, langs, lists)


def _column(name: str, langs: tuple[str, ...]) -> Column:
    match = _UNIT.search(name)
    bare = name[: match.start()].strip() if match else name
    unit = folded((match[1] or match[2]).strip()) if match else ""
    return Column(name, tuple(words(spaced(bare), langs)), unit)


def _called(rowed: Rowed, content: RowedText, at: int, section: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    one = content.row_sets[at]
    before = content.text[: one.start].rstrip()[-_CAPTION_LENGTH:]
    line = before.rsplit("\n", 1)[-1].strip("#* \t")
    gap = content.text[: one.start][len(content.text[: one.start].rstrip()) :]
    in_rows = any(other.start < one.start <= other.end + len(gap) for other in content.row_sets)
    is_caption = 0 < len(line.split()) <= CAPTION_WORDS and not line.endswith(".") and gap.count("\n") <= 2 and not in_rows
    caption = line if is_caption else ""
    path = section.split(" › ") if section else []
    stem = PurePosixPath(rowed.source.rsplit("/", 1)[-1]).stem
    own = [name for name in (caption, *path[-1:]) if not _joins(name)]
    above = [name for name in (*path[:-1], rowed.title, stem) if not _joins(name)]
    if len(content.row_sets) == 1:
        own += above
        above = []
    return tuple(dict.fromkeys(filter(None, own))), tuple(dict.fromkeys(filter(None, above)))


def _joins(name: str) -> bool:
    """ "Orders and returns", "Berlin/Munich": a row may be either, so the name explains no word of a question."""
    return any(word.key in JOINING for word in words(spaced(name))) or any(sign in name for sign in "&/,+")


def _head(named: Sequence[Word], head_first: bool) -> Word | None:
    kept: list[Word] = []
    for word in named:
        if word.is_number or word.key in GENERIC_NAMES:
            continue
        if word.key in TITLE_BREAKS:
            if kept:
                break
            continue
        kept.append(word)
    if not kept:
        return None
    return kept[0] if head_first else kept[-1]
