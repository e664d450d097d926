"""Rows of tables as people read them: `| Lamp | 25 |` is shown as `Lamp · 25`. For display only; a quote stays as it is."""

from __future__ import annotations

import regex

BETWEEN = " · "
_BAR = regex.compile(r"(?<!\\)\|")
_RULE = regex.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|)+(?:\s*:?-{2,}:?\s*)?\s*")
_COMMAND = regex.compile(r"[`\\{}]|(?<!\S)--?[a-z]|\|\|")


def readable(text: str) -> str:
    """`text` with its table rows as cells set apart by dots; consecutive rows end in a semicolon, and rules vanish."""
    if "|" not in text:
        return text
    lines = text.split("\n")
    shown: list[str] = []
    in_row = False
    for at, line in enumerate(lines):
        if _RULE.fullmatch(line):
            continue
        cells = _cells(line, beside=any(" | " in other for other in (*lines[max(0, at - 1) : at], *lines[at + 1 : at + 2])))
        if cells and in_row:
            shown[-1] += ";"
        shown.append(BETWEEN.join(cells) if cells else line)
        in_row = bool(cells)
    return "\n".join(shown)


def _cells(line: str, *, beside: bool) -> list[str]:
    """The cells of a row that hold something; none for a line that is no row: a formula, a command with a pipe. `beside`: the
    line before or behind has a bar too, as in a table of two columns.
    """
    bare = line.strip()
    framed = len(bare) > 2 and bare.startswith("|") and bare.endswith("|") and not bare.endswith("\\|")
    if not framed and (bare.count(" | ") < (1 if beside else 2) or _COMMAND.search(bare)):
        return []
    return [kept for cell in _BAR.split(bare) if (kept := cell.strip().replace("\\|", "|"))]
