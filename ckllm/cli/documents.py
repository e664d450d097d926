"""`ckllm documents`: what is known, its text, and how to remove or retry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import AsUser, Json, session

app = typer.Typer(help="List, show, remove and retry documents.", no_args_is_help=True)
WIDE = 120
"""Columns of a terminal in which a document's line has room for all that there is to say of it."""
AnyCollection = Annotated[str | None, typer.Option("--collection", "-c", help="Only this collection.", metavar="NAME")]
Ids = Annotated[list[str], typer.Argument(help="Document ids, as `documents list` shows them.", metavar="ID…")]


@app.command("list")
def list_documents(
    context: typer.Context,
    collection: AnyCollection = None,
    state: Annotated[str | None, typer.Option(help="Only these: live, pending or failed.")] = None,
    as_user: AsUser = None,
    as_json: Json = False,
) -> None:
    """Every live, pending and failed document.

    Example: ckllm documents list --state failed
    """
    with session(context).open(collection or "main") as kb:
        rows = kb.documents(everywhere=collection is None, user=as_user, state=state)
        collections = [row.name for row in kb.catalogue.collections()]
    if as_json:
        output.print_json([row.as_json() for row in rows])
        return
    cells = [row.as_json() | {"pages": row.pages or ""} for row in rows]
    columns = [name for name in _columns() if name != "reason" or any(row.reason for row in rows)]
    empty = _why_none(collection, collections, state)
    output.print_table(columns, ([cell.get(name) for name in columns] for cell in cells), empty=empty)


def _columns() -> tuple[str, ...]:
    """What there is room for beside an id."""
    out = output.console()
    if out.is_terminal and out.width < WIDE:
        return ("id", "state", "title", "reason")
    return ("id", "state", "chunks", "pages", "lang", "title", "source", "reason")


def _why_none(collection: str | None, collections: Sequence[str], state: str | None) -> str:
    if collection is not None and collection not in collections:
        return f"There is no collection {collection!r}{': there are ' + ', '.join(collections) if collections else ''}."
    if state is not None:
        return f"No {state} documents."
    return "No documents yet: `ckllm ingest FOLDER` adds some."


@app.command()
def show(context: typer.Context, ids: Ids, as_user: AsUser = None, as_json: Json = False) -> None:
    """The extracted text of documents, with page map and chunks.

    Example: ckllm documents show 4f0c… --json
    """
    with session(context).open("main") as kb:
        texts = kb.document_texts(ids, user=as_user)
    for text in texts:
        if as_json:
            output.print_json(text.as_json())
        else:
            out = output.console()
            size = text.reason or f"{len(text.pages)} pages, {len(text.chunks)} chunks"
            out.print(f"{text.title or text.id} ({text.source}), {size}", style="bold", markup=False)
            if text.text:
                out.print(text.text, markup=False)


@app.command()
def remove(context: typer.Context, ids: Ids, as_json: Json = False) -> None:
    """Remove documents with everything that was stored of them. The source files stay.

    Example: ckllm documents remove 4f0c…
    """
    from ingestion.pipeline import remove as remove_documents

    with session(context).open("main") as kb:
        removed = remove_documents(kb, ids)
    if as_json:
        output.print_json({"removed": removed})
    else:
        typer.echo(f"removed {removed} document{'s' if removed != 1 else ''}")


@app.command()
def retry(
    context: typer.Context,
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection of documents.", metavar="NAME")] = "main",
    group: Annotated[
        list[str] | None, typer.Option("--group", help="For this group instead of those of the failed attempt; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ingest again what failed or was interrupted, each for the groups that it was to have.

    Example: ckllm documents retry
    """
    from ckllm.cli.ingesting import finish, shown_progress
    from ingestion.pipeline import retry as retry_documents

    with session(context).open(collection) as kb, shown_progress(as_json) as progress:
        report = retry_documents(kb, groups=group, progress=progress)
    if not as_json and report == replace(report, added=0, updated=0, unchanged=0, rejected=()):
        typer.echo(f"nothing in {collection!r} has failed or was interrupted")
        return
    finish(report, as_json)
