"""Charts and diagrams of office documents (DrawingML) as lines of text."""

from __future__ import annotations

from typing import Any

from ingestion.parse.text import CELL_SEPARATOR, one_line

_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_MAX_POINTS = 2000


def chart_texts(root: Any) -> list[str]:
    """Title, axis titles, and the chart's numbers as a table: categories down, series across."""
    lines = [one_line("".join(text.text or "" for text in title.iter(f"{_A}t"))) for title in root.iter(f"{_C}title")]
    categories: dict[int, str] = {}
    names, columns = [], []
    for series in root.iter(f"{_C}ser"):
        names.append(" ".join(_points(series.find(f"{_C}tx")).values()))
        for axis in ("cat", "xVal"):
            categories |= {key: value for key, value in _points(series.find(f"{_C}{axis}")).items() if key not in categories}
        values = series.find(f"{_C}val")
        columns.append(_points(values if values is not None else series.find(f"{_C}yVal")))
    if any(columns):
        lines.append(
            CELL_SEPARATOR.join(["", *names]).strip(" |") if not categories else CELL_SEPARATOR.join([" ", *names]).strip()
        )
        keys = sorted({key for column in columns for key in column} | set(categories))[:_MAX_POINTS]
        lines.extend(CELL_SEPARATOR.join([categories.get(key, ""), *(column.get(key, "") for column in columns)]) for key in keys)
    return [line for line in lines if line.strip(" |")]


def _points(parent: Any) -> dict[int, str]:
    """Cached values by index."""
    if parent is None:
        return {}
    found: dict[int, str] = {}
    for point in parent.iter(f"{_C}pt"):
        index = str(point.get("idx") or "")
        if index.isdigit():
            value = one_line(point.findtext(f"{_C}v", ""))
            found[int(index)] = f"{found[int(index)]} {value}" if int(index) in found else value
    if not found:
        text = one_line(parent.findtext(f"{_C}v", ""))
        return {0: text} if text else {}
    return found


def diagram_texts(root: Any) -> list[str]:
    """The texts of a SmartArt diagram's points, in the order in which they were made."""
    lines = []
    for point in root.iter():
        if isinstance(point.tag, str) and point.tag.endswith("}pt"):
            text = one_line(" ".join(text.text or "" for text in point.iter(f"{_A}t")))
            if text:
                lines.append(text)
    return lines
