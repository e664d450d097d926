"""A stored table or record set as columns of cells, read back from the text of its document; refused where its rows are not
certain.

Nothing is guessed: a row with more cells than the header, a row that may be a heading within the table or a sum of others, a
table that a blank row may have cut in two, make the table useless for counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import TypeAlias

import regex

from ckllm.contracts import RowSet
from ckllm.records import values
from ckllm.records.values import Day, Numbers, is_missing
from ckllm.records.vocabulary import GENERIC_NAMES, GROUPED, JOINING, SUMS, TITLE_BREAKS, TOTALS
from ckllm.records.words import Word, folded, spaced, words
from ckllm.store.catalogue_rows import Rowed, RowedText

MOST_ROWS = 200_000
MOST_CHARACTERS = 40_000_000
MOST_COLUMNS = 200
CAPTION_WORDS = 10
"""Words of the line before a table up to which it is taken for its caption."""
_CAPTION_LENGTH = 160
LONGEST_TOTAL = 40
"""Characters of a first cell that may say that a row sums up others."""
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
_SUM = regex.compile(
    rf"^(?:{'|'.join(SUMS)})\b|\b(?:{'|'.join(SUMS)})\W*$|^(?:sum|average) of\b|^all\s|^world\W*$|^[Σ∑]", regex.IGNORECASE
)
"""Of a cell that says that its row sums up others."""
_TOTAL_STARTS = frozenset(word[:3] for word in TOTALS)
CUT_OFF = "cut off"
"""In the warnings of documents of which not all rows were taken over."""
_PLAIN_BAR = regex.compile(r"(?<!\\)\|")
_RULE = regex.compile(r"\s*\|?[\s:|-]+\|?\s*")
_FIELD = regex.compile(r"( *)([^\n]*?\S):(?: (.*))?")


_Parsed: TypeAlias = tuple[list[str], list[list[str]], frozenset[int]]
"""Names of columns, rows, columns of lists."""


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
    _cells: dict[int, list[str]] = field(default_factory=dict, compare=False)
    _numbers: dict[int, Numbers | None] = field(default_factory=dict, compare=False)
    _dates: dict[int, dict[str, Day | None] | None] = field(default_factory=dict, compare=False)

    def cells(self, column: int) -> list[str]:
        """The column's cells, "" where a row ends before it."""
        if column not in self._cells:
            self._cells[column] = [row[column] if column < len(row) else "" for row in self.rows]
        return self._cells[column]

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
        return next(iter(self.names), "") or self.rowed.title or self.rowed.source

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
    if not 1 <= data <= MOST_ROWS or one.end - one.start > MOST_CHARACTERS or one.header > 2 or _is_cut(content, at):
        return None
    if not one.records and not one.header:
        return None
    parsed = _records(content.text, one) if one.records else _rows(content.text, one, rowed.media_type == _MARKDOWN)
    if parsed is None:
        return None
    names, rows, lists = parsed
    starts = one.rows[one.header :]
    if not _certain(names, rows, one.records):
        return None
    if not one.records and (sums := _sum_row(rows)) is not None:
        if sums < len(rows) - 1 or not _adds_up(rows):
            return None
        rows, starts = rows[:-1], starts[:-1]
        one = RowSet(one.start, one.rows[-1], one.rows[:-1], one.header)
    if not rows:
        return None
    columns = tuple(_column(name, langs) for name in names)
    called, around = _called(rowed, content, at, section)
    return Table(rowed, content.text, one, columns, rows, starts, called, around, langs, lists)


# ------------------------------------------------------------------------------------------------ cells


def _rows(text: str, one: RowSet, markdown: bool) -> _Parsed | None:
    lines = text[one.start : one.end].split("\n")
    if len(lines) != len(one.rows):
        return None
    split = _markdown_cells if markdown else _cells
    header = [split(line) for line in lines[: one.header]]
    if markdown:
        if one.header != 2 or not _RULE.fullmatch(lines[1]):
            return None
        header = header[:1]
    if any(cells is None for cells in header):
        return None
    width = max(len(cells) for cells in header if cells is not None)
    names = [
        " ".join(dict.fromkeys(cells[at] for cells in header if cells is not None and at < len(cells) and cells[at]))
        for at in range(width)
    ]
    body = lines[one.header :]
    if not markdown and not any(line.endswith("|") or "\\|" in line for line in body):
        return names, [line.split(" | ") for line in body], frozenset()
    rows = [split(line) for line in body]
    made = [row for row in rows if row is not None]
    return (names, made, frozenset()) if len(made) == len(rows) else None


def _cells(line: str) -> list[str]:
    cells = (line + " ").split(" | ")
    cells[-1] = cells[-1].strip()
    cells[0] = cells[0].strip()
    return [cell.replace("\\|", "|") for cell in cells] if "\\|" in line else cells


def _markdown_cells(line: str) -> list[str] | None:
    bare = line.strip()
    if bare.startswith(">"):
        return None
    bare = bare.removeprefix("|")
    bare = bare[:-1] if bare.endswith("|") and not bare.endswith("\\|") else bare
    return [cell.strip().replace("\\|", "|") for cell in _PLAIN_BAR.split(bare)]


def _records(text: str, one: RowSet) -> _Parsed | None:
    """Fields by their path of keys, in the order in which they first appear."""
    paths: dict[tuple[str, ...], int] = {}
    lists: set[tuple[str, ...]] = set()
    rows: list[list[str]] = []
    ends = (*one.rows[1:], one.end)
    for start, end in zip(one.rows, ends, strict=True):
        row: dict[int, str] = {}
        above: list[tuple[int, str]] = []
        for line in text[start:end].strip("\n").split("\n"):
            match = _FIELD.fullmatch(line)
            depth = len(line) - len(line.lstrip(" "))
            while above and above[-1][0] >= depth:
                above.pop()
            if match is None:
                path = tuple(key for _, key in above)
                value = line.strip()
                lists.add(path)
            else:
                above.append((depth, match[2]))
                path = tuple(key for _, key in above)
                value = (match[3] or "").strip()
            if not path:
                return None
            if value:
                at = paths.setdefault(path, len(paths))
                row[at] = f"{row[at]}; {value}" if at in row else value
        if len(paths) > MOST_COLUMNS:
            return None
        rows.append([row.get(at, "") for at in range(max(row, default=-1) + 1)])
    return [" ".join(path) for path in paths], rows, frozenset(at for path, at in paths.items() if path in lists)


# ------------------------------------------------------------------------------------------------ doubts


def _certain(names: Sequence[str], rows: Sequence[Sequence[str]], records: bool) -> bool:
    width = len(names)
    if not 1 <= width <= MOST_COLUMNS or not any(names):
        return False
    if records:
        return True
    # a row with one cell may be a heading within the table, or a remark below it
    return width >= 2 and all(len(row) <= width and len(row) - row.count("") > 1 for row in rows)


def _is_cut(content: RowedText, at: int) -> bool:
    """Whether a neighbour follows or precedes with nothing between: a blank row may have cut one table in two."""
    one = content.row_sets[at]
    if one.records:
        return False
    before = content.row_sets[at - 1] if at else None
    after = content.row_sets[at + 1] if at + 1 < len(content.row_sets) else None
    return (before is not None and not content.text[before.end : one.start].strip()) or (
        after is not None and not content.text[one.end : after.start].strip()
    )


def _sum_row(rows: Sequence[Sequence[str]]) -> int | None:
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


def _adds_up(rows: Sequence[Sequence[str]]) -> bool:
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


# ------------------------------------------------------------------------------------------------ names


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
