"""What commands print: JSON lines on stdout, and the same things for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ckllm.errors import UsageError
from ckllm.json_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from ckllm.contracts import Answer, Citation, Hit

SNIPPET = 240
"""Characters of a passage that a terminal listing shows."""
PIPE_WIDTH = 100_000


def print_json(value: Any) -> None:
    """One line of JSON, written at once, so that a pipe's reader has it as soon as it is made.

    What the terminal's encoding cannot hold (lone surrogates in UTF-8, nearly everything in ASCII) goes as escapes.
    """
    import sys

    sys.stdout.write(json_text(value, sys.stdout.encoding or "utf-8") + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table for people; `empty` is said where there are no rows. The first column is never cut: it is what commands take.

    In a pipe, where no terminal is as narrow as that, nothing is.
    """
    from rich.markup import escape
    from rich.table import Column, Table

    out = console()
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    first, *others = columns
    table = Table(Column(first, no_wrap=True), *others, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    out.print(table if table.row_count else empty, markup=False)


def print_hits(hits: Sequence[Hit]) -> None:
    from ckllm.cells import readable

    out = console()
    if not hits:
        out.print("Nothing found.")
    for hit in hits:
        text = " ".join(readable(hit.text).split())
        out.print(f"{hit.rank}. {place(hit)}", style="bold", markup=False)
        out.print(f"   {text[:SNIPPET]}{'…' if len(text) > SNIPPET else ''}", markup=False)
        where = f"{hit.source} [{hit.start}:{hit.end}]"
        out.print(f"   {where} score {hit.score:.3f} ({', '.join(hit.found_by)})", style="dim", markup=False)


def print_answer(answer: Answer) -> None:
    """The answer with its citations as footnotes; of a refusal, the nearest passages."""
    from rich.text import Text

    from ckllm.cells import readable

    out = console()
    shown = Text(answer.answer)
    if answer.short_answer:
        at = answer.answer.index(answer.short_answer)
        shown.stylize("bold", at, at + len(answer.short_answer))
    out.print(shown)
    for warning in answer.warnings:
        out.print(f"({warning})", style="dim", markup=False)
    if answer.refused:
        nearest = answer.evidence[:3]
        if nearest:
            out.print("\nNearest passages:", style="dim")
        for evidence in nearest:
            text = " ".join(readable(evidence.hit.text).split())
            out.print(f"  {place(evidence.hit)}: {text[:120]}…", style="dim", markup=False)
        return
    out.print()
    for citation in answer.citations:
        out.print(f"[{citation.marker}] {place(citation)}", style="bold", markup=False)
        out.print(f"    “{' '.join(readable(citation.quote).split())}”", markup=False)
        out.print(f"    {citation.source}", style="dim", markup=False)


def place(found: Hit | Citation) -> str:
    """Where a passage stands, for people: title, page, section."""
    parts = [found.title or found.source]
    if found.page is not None:
        parts.append(f"page {found.page}")
    section = found.section.removeprefix(found.title).removeprefix(" › ")
    if section:
        parts.append(section)
    return ", ".join(parts)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is deleted, unless `yes`. Ends with exit code 2 at a no; UsageError where nobody answers."""
    try:
        if not yes and not typer.confirm(question, err=True):
            raise typer.Exit(2)
    except typer.Abort:
        raise UsageError("nothing was deleted, since nobody has answered: give --yes where nobody can be asked") from None
