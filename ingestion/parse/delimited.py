"""CSV and TSV with any delimiter and encoding: one line a row, cells joined by " | ", the first row as header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from ckllm.contracts import Document, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder

_DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", "\x1f")
_SAMPLE_ROWS = 50
_MAX_REPAIRS = 20
_MAX_FIELD = 64 * 1024 * 1024


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    csv.field_size_limit(_MAX_FIELD)
    text = decode(source.path.read_bytes())[0].replace("\x00", "")
    builder = TextBuilder(media_type)
    delimiter = find_delimiter(text, "\t" if media_type == "text/tab-separated-values" else ",")
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        text, delimiter = rest, first.strip()[4]
    rows = [[cell.strip() for cell in row] for row in _rows(text, delimiter)]
    builder.table((row for row in rows if any(row)), header_rows=1)
    return builder.build("", source)


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows. A quote that is never closed is a sign like others: else the rest of the file would be one cell."""
    lines = list(io.StringIO(text, newline=""))
    start = 0
    for _ in range(_MAX_REPAIRS):
        reader = csv.reader(lines[start:], delimiter=delimiter, skipinitialspace=True)
        done = 0
        for row in reader:
            open_quote = reader.line_num - done > 1 and start + reader.line_num == len(lines)
            if open_quote and "".join(lines[start + done :]).count('"') % 2:
                yield from csv.reader([lines[start + done]], delimiter=delimiter, quoting=csv.QUOTE_NONE)
                break
            yield row
            done = reader.line_num
        else:
            return
        start += done + 1
    yield from csv.reader(lines[start:], delimiter=delimiter, quoting=csv.QUOTE_NONE)


def find_delimiter(text: str, usual: str) -> str:
    """The delimiter that cuts the first rows into the most columns of which nearly all rows have the same number.

    Quoted cells are honoured, so that a comma inside quotes counts nothing. `usual` wins where nothing is better.
    """
    sample = text[: 256 * 1024]
    best, best_score = usual, 0.0
    for delimiter in dict.fromkeys((usual, *_DELIMITERS)):
        widths = []
        for row in _rows(sample, delimiter):
            if any(cell.strip() for cell in row):
                widths.append(len(row))
            if len(widths) >= _SAMPLE_ROWS:
                break
        if not widths:
            continue
        common = max(set(widths), key=lambda width: (widths.count(width), width))
        score = (widths.count(common) / len(widths)) ** 2 * min(common - 1, 20) / (1 if delimiter not in ":^~" else 4)
        if score > best_score * 1.01:
            best, best_score = delimiter, score
    return best
