"""Legacy Excel workbooks (BIFF) through xlrd."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, Source
from ckllm.errors import DataError
from ingestion.parse.sheets import add_sheet
from ingestion.parse.text import TextBuilder


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    import xlrd

    try:
        workbook = xlrd.open_workbook(str(source.path), logfile=io.StringIO())
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise DataError("encrypted with a password: save a copy without the password") from error
        raise DataError(f"broken workbook: {error}") from error
    except (AssertionError, IndexError, KeyError, ValueError, TypeError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"broken workbook: {type(error).__name__}: {error}") from error
    builder = TextBuilder(media_type)
    for number, sheet in enumerate(workbook.sheets(), start=1):
        if sheet.visibility and any(not other.visibility for other in workbook.sheets()):
            builder.warn("hidden sheets were left out")
            continue
        add_sheet(builder, number, sheet.name, _rows(sheet, workbook.datemode))
    return builder.build("", source)


def _rows(sheet: Any, datemode: int) -> Iterator[list[object]]:
    for row in range(sheet.nrows):
        yield [_value(sheet.cell(row, column), datemode) for column in range(sheet.row_len(row))]


def _value(cell: Any, datemode: int) -> object:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            value: dt.datetime = xlrd.xldate_as_datetime(cell.value, datemode)
        except (ValueError, OverflowError):
            return cell.value
        return value.time() if cell.value < 1 else value
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return xlrd.error_text_from_code.get(cell.value, "") if cell.ctype == xlrd.XL_CELL_ERROR else cell.value
