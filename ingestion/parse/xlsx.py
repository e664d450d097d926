"""XLSX through openpyxl: a sheet is a page; saved results of formulas, merged cells, comments, chart sheets, text boxes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.drawing import chart_texts
from ingestion.parse.package import Package
from ingestion.parse.sheets import add_sheet
from ingestion.parse.text import TextBuilder, one_line

_LARGE = 40_000_000
_MAX_EMPTY = 10_000
_MAX_COLUMNS = 2000
"""Of rows that reach farther, empty cells are left out."""
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_STYLES = "xl/styles.xml"
_BROKEN = (SyntaxError, KeyError, ValueError, TypeError, AttributeError, IndexError, zipfile.BadZipFile, EOFError, OSError)


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder(media_type)
    with Package(source) as package:
        large = sum(len(package.read(part)) for part in package.parts if part.endswith(".xml")) > _LARGE
        if any(part.lower().endswith("vbaproject.bin") for part in package.parts):
            builder.warn("macros were ignored")
        _add_sheets(builder, package, large)
        _add_drawings(builder, package)
        return builder.build(package.title(), source)


def _add_sheets(builder: TextBuilder, package: Package, large: bool) -> None:
    # large workbooks are streamed: openpyxl's full model takes some fifty times the file's size
    try:
        workbook = _open(package.usual(), streamed=large)
    except _BROKEN as error:
        # styles that openpyxl does not understand are the commonest reason, and say nothing about the cells but what is a date
        large = True
        try:
            workbook = _open(package.usual(without=_STYLES), streamed=True)
        except _BROKEN:
            raise DataError(f"broken workbook: {' '.join(str(error).split())[:200]}") from error
        builder.warn("the workbook's styles are broken: dates are shown as numbers")
    for number, sheet in enumerate(workbook.worksheets, start=1):
        if sheet.sheet_state != "visible":
            builder.warn("hidden sheets were left out")
            continue
        add_sheet(builder, number, sheet.title, _rows(sheet, large))
        if not large:
            _add_comments(builder, sheet)
    for number, sheet in enumerate(workbook.chartsheets, start=len(workbook.worksheets) + 1):
        builder.page(number)
        builder.append(ElementKind.HEADING, sheet.title, 1)
    if not large and _lacks_results(package, workbook):
        builder.warn("formulas without saved results were left out: open and save the file in a spreadsheet program")
    workbook.close()


def _open(data: IO[bytes], *, streamed: bool, results: bool = True) -> Any:
    import openpyxl

    return openpyxl.load_workbook(data, data_only=results, read_only=streamed, keep_links=False)


def _rows(sheet: Any, large: bool) -> Iterator[list[object]]:
    if large:
        empty = 0
        for row in sheet.iter_rows(values_only=True):
            empty = 0 if any(value is not None for value in row) else empty + 1
            if empty > _MAX_EMPTY:
                return
            yield list(row)
        return
    # by the cells that there are: a single cell in the last row does not make a million rows
    merged = _merged_down(sheet)
    by_row: dict[int, dict[int, object]] = {}
    for (row, column), cell in sheet._cells.items():
        if cell.value is not None:
            by_row.setdefault(row, {})[column] = cell.value
    with_cells = set(by_row)
    for (row, column), (value, width) in merged.items():
        if width == 1 or row in with_cells:  # what is merged over rows of its own is a heading, and stands once
            by_row.setdefault(row, {}).setdefault(column, value)
    last = 0
    for row in sorted(by_row):
        if last and row > last + 1:
            yield []
        cells = by_row[row]
        width = max(cells)
        yield [cells.get(column) for column in (range(1, width + 1) if width <= _MAX_COLUMNS else sorted(cells))]
        last = row


def _merged_down(sheet: Any) -> dict[tuple[int, int], tuple[object, int]]:
    """Values and widths of cells merged downwards, for each row that they span: every row has to make sense alone."""
    found = {}
    for area in list(sheet.merged_cells.ranges)[:20_000]:
        value = sheet.cell(area.min_row, area.min_col).value
        if value is not None and area.max_row - area.min_row < 500:
            for row in range(area.min_row + 1, area.max_row + 1):
                found[(row, area.min_col)] = value, area.max_col - area.min_col + 1
    return found


def _add_comments(builder: TextBuilder, sheet: Any) -> None:
    for (row, column), cell in sorted(sheet._cells.items()):
        if getattr(cell, "comment", None) is not None:
            text = one_line(cell.comment.text or "")
            where = f"{_letters(column)}{row}"
            if text and "your version of excel allows you to read this threaded comment" not in text.lower():
                builder.append(ElementKind.NOTE, f"Comment by {one_line(cell.comment.author or 'unknown')} on {where}: {text}")
            elif "Comment:" in text:
                builder.append(ElementKind.NOTE, f"Comment on {where}: {text.split('Comment:', 1)[1].strip()}")


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _lacks_results(package: Package, workbook: Any) -> bool:
    """True where formulas have no saved results: the file was written by a program that does not calculate."""
    formulas = _open(package.usual(), streamed=True, results=False)
    try:
        for sheet in formulas.worksheets:
            values = workbook[sheet.title]
            for row in sheet.iter_rows(max_row=200, max_col=50):
                for cell in row:
                    if cell.data_type == "f" and values.cell(cell.row, cell.column).value is None:
                        return True
    finally:
        formulas.close()
    return False


def _add_drawings(builder: TextBuilder, package: Package) -> None:
    """Charts (what they are drawn from is in the sheets already, so only their titles) and text boxes."""
    for part in package.parts:
        if part.startswith("xl/charts/chart") and part.endswith(".xml"):
            lines = [line for line in chart_texts(package.xml(part)) if "|" not in line]
            builder.append(ElementKind.CAPTION, "\n".join(lines))
        elif part.startswith("xl/drawings/drawing") and part.endswith(".xml"):
            for paragraph in package.xml(part).iter(f"{_A}p"):
                builder.append(ElementKind.PARAGRAPH, "".join(text.text or "" for text in paragraph.iter(f"{_A}t")))
