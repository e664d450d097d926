"""Tables of HTML pages: which are data and which only lay out the page, and the rows of the former."""

from __future__ import annotations

from typing import Any

from ingestion.parse.html_visibility import Visibility

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
    hanging: dict[int, tuple[int, str]] = {}
    header_rows, in_head, cells = 0, True, 0
    for row in table.iter("tr"):
        if visibility.leaves_out(row):
            continue
        line = _row(row, hanging, visibility)
        cells += len(line)
        if cells > _MAX_CELLS:
            visibility.warnings.append("a table was cut off: too many cells")
            break
        if any(line):
            rows.append(line)
        tags = [cell.tag for cell in row if cell.tag in ("td", "th")]
        in_head = in_head and bool(tags) and (row.getparent().tag == "thead" or all(tag == "th" for tag in tags))
        header_rows += in_head and any(line)
    return rows, min(max(header_rows, 1), 3)


def _row(row: Any, hanging: dict[int, tuple[int, str]], visibility: Visibility) -> list[str]:
    line: list[str] = []
    for cell in row:
        if cell.tag not in ("td", "th") or visibility.leaves_out(cell):
            continue
        _take_hanging(line, hanging)
        text = cell_text(cell, visibility)
        column = len(line)
        line.append(text)
        line.extend([""] * (_span(cell, "colspan") - 1))
        if (down := _span(cell, "rowspan")) > 1:
            hanging |= {place: (down - 1, line[place]) for place in range(column, len(line))}
    _take_hanging(line, hanging)
    while line and not line[-1]:
        line.pop()
    return line


def _take_hanging(line: list[str], hanging: dict[int, tuple[int, str]]) -> None:
    while len(line) in hanging:
        left, text = hanging.pop(len(line))
        if left > 1:
            hanging[len(line)] = (left - 1, text)
        line.append(text)


def _span(cell: Any, name: str) -> int:
    value = str(cell.get(name) or "1").strip()
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() else 1


def cell_text(cell: Any, visibility: Visibility) -> str:
    """The visible text of a cell on one line."""
    from lxml import etree

    parts: list[str] = [cell.text or ""]
    walk = etree.iterwalk(cell, events=("start", "end"))
    for event, element in walk:
        if element is cell:
            continue
        if event == "start":
            if not isinstance(element.tag, str) or visibility.leaves_out(element):
                walk.skip_subtree()
                continue
            parts.append(f" {element.text or ''}" if element.tag in _BREAKING else element.text or "")
        else:
            parts.append(" " if element.tag in _BREAKING else "")
            parts.append(element.tail or "")
    parts.extend(f" {comment.tail or ''}" for comment in cell.iter(etree.Comment))
    return " ".join("".join(parts).split())
