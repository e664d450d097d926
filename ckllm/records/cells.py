"""The cells of a stored table or record set, read back from the text of its document."""

from __future__ import annotations

from typing import TypeAlias

import regex

from ckllm.contracts import RowSet

MOST_COLUMNS = 200
_PLAIN_BAR = regex.compile(r"(?<!\\)\|")
_RULE = regex.compile(r"\s*\|?[\s:|-]+\|?\s*")
_FIELD = regex.compile(r"( *)([^\n]*?\S):(?: (.*))?")

Parsed: TypeAlias = tuple[list[str], list[list[str]], frozenset[int]]
"""Names of columns, rows, columns of lists."""


def table_cells(text: str, one: RowSet, markdown: bool) -> Parsed | None:
    """A row a line, cells between bars; None where lines and rows do not agree."""
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


def record_cells(text: str, one: RowSet) -> Parsed | None:
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
