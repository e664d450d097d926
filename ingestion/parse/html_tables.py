"""Tables of HTML pages: which are data and which only lay out the page, and the rows of the former."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingestion.parse.html_visibility import Visibility
from ingestion.parse.row_spans import RowSpans

_MAX_SPAN = 200
_MAX_CELLS = 2_000_000
_BREAKING = frozenset(
    ["br", "p", "div", "li", "tr", "td", "th", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre"]
)
_LONG_CELL = 1500


def is_layout(table: Any) -> bool:
    """True where the table holds other tables, says so itself, has one column, or cells as long as pages."""
    if table.get("role") in ("presentation", "none") or table.find(".//table") is not None:
        return True
    widest = 0
    for row in table.iter("tr"):
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        widest = max(widest, len(cells))
        if any(len(cell) and len("".join(cell.itertext())) > _LONG_CELL for cell in cells):
            return True
    return widest <= 1 and table.find(".//th") is None


def table_rows(table: Any, visibility: Visibility) -> tuple[list[list[str]], int]:
    """The rows as cells of text, and how many of them are header rows (1 where the table does not say).

    A cell that spans rows stands in each of them, because a row has to make sense alone; one that spans columns stands once.
    """
    rows: list[list[str]] = []
    spans = RowSpans()
    header_rows, in_head, cells = 0, True, 0
    for row in _shown_rows(table, visibility):
        line = _row(row, spans, visibility)
        cells += len(line)
        if cells > _MAX_CELLS:
            visibility.warnings.append("a table was cut off: too many cells")
            break
        tags = [cell.tag for cell in row if cell.tag in ("td", "th")]
        if tags and any(line):
            rows.append(line)
        in_head = in_head and bool(tags) and (row.getparent().tag == "thead" or all(tag == "th" for tag in tags))
        header_rows += in_head and any(line)
    return rows, min(max(header_rows, 1), 3)


def _shown_rows(table: Any, visibility: Visibility) -> Iterator[Any]:
    """Rows that a reader sees: they may be hidden with what they are grouped in."""
    from lxml import etree

    walk = etree.iterwalk(table, events=("start",))
    for _, element in walk:
        if element is not table and visibility.leaves_out(element):
            walk.skip_subtree()
        elif element.tag == "tr":
            yield element
            walk.skip_subtree()


def _row(row: Any, spans: RowSpans, visibility: Visibility) -> list[str]:
    line: list[str] = []
    for cell in row:
        if cell.tag not in ("td", "th") or visibility.leaves_out(cell):
            continue
        while spans.covers(len(line)):
            line.append(spans.taken(len(line)))
        column = len(line)
        line += [cell_text(cell, visibility)] + [""] * (_span(cell, "colspan") - 1)
        for place in range(column, len(line)):
            spans.begin(place, line[place], _span(cell, "rowspan"))
    for place in range(len(line), spans.width):
        line.append(spans.taken(place))
    while line and not line[-1]:
        line.pop()
    return line


def _span(cell: Any, name: str) -> int:
    value = str(cell.get(name) or "1").strip()
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() else 1


def cell_text(cell: Any, visibility: Visibility) -> str:
    """The visible text of a cell on one line."""
    from lxml import etree

    parts: list[str] = [cell.text or ""]
    walk = etree.iterwalk(cell, events=("start", "end", "comment", "pi"))
    for event, element in walk:
        if element is cell:
            continue
        if event == "start":
            if visibility.leaves_out(element):
                walk.skip_subtree()
                continue
            parts.append(f" {element.text or ''}" if element.tag in _BREAKING else element.text or "")
            continue
        if event == "comment":
            visibility.comment(element)
        elif element.tag in _BREAKING:
            parts.append(" ")
        parts.append(element.tail or "")
    return " ".join("".join(parts).split())
