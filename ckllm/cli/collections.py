"""`ckllm collections`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session

app = typer.Typer(help="Create, list, move and delete collections.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The collection.", metavar="NAME")]


@app.command("list")
def list_collections(context: typer.Context, as_json: Json = False) -> None:
    """Collections, their embedders and how many documents they hold.

    Example: ckllm collections list
    """
    with session(context).open("main") as kb:
        known, documents = kb.catalogue.collections(), kb.documents(everywhere=True)
    rows = [
        {
            "name": row.name,
            "documents": sum(document.collection == row.name for document in documents),
            "chunks": sum(document.chunks for document in documents if document.collection == row.name),
            "embedder": row.embedder,
            "dimension": row.dimension,
        }
        for row in known
    ]
    if as_json:
        output.print_json(rows)
    else:
        columns = ("name", "documents", "chunks", "embedder", "dimension")
        output.print_table(columns, ([row[column] for column in columns] for row in rows), empty="No collections yet.")


@app.command()
def create(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Create an empty collection for the configured embedder.

    Example: ckllm collections create manuals
    """
    with session(context).open(name, create=True) as kb:
        made = {"name": name, "embedder": kb.index.embedder, "dimension": kb.index.dimension}
    if as_json:
        output.print_json(made)
    else:
        typer.echo(f"collection {name} uses {made['embedder']}")


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a collection with everything in it. The source files stay.

    Example: ckllm collections delete manuals --yes
    """
    from ingestion.transfer import delete_collection

    with session(context).open(name) as kb:
        known = [row.name for row in kb.catalogue.collections()]
    if name in known:
        output.confirm(f"Delete collection {name} and everything in it?", yes or as_json)
    with session(context).open(name) as kb:
        documents = delete_collection(kb)
    if as_json:
        output.print_json({"deleted": name, "documents": documents})
    else:
        typer.echo(f"deleted {name} ({documents} documents)")


@app.command("export")
def export_collection(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection.", metavar="NAME")] = "main",
    as_json: Json = False,
) -> None:
    """Write a collection with its texts and vectors to one file.

    Example: ckllm collections export main.ckllm
    """
    from ingestion.transfer import export_collection as write

    with session(context).open(collection) as kb:
        written = write(kb, file)
    if as_json:
        output.print_json({"file": str(file.absolute()), **written})
    else:
        typer.echo(f"wrote {written['documents']} documents, {written['chunks']} chunks to {file}")


@app.command("import")
def import_collection(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `collections export` wrote.", metavar="FILE")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection to fill.", metavar="NAME")] = "main",
    as_json: Json = False,
) -> None:
    """Read a collection from a file; its vectors are used as they are.

    Example: ckllm collections import main.ckllm --collection main
    """
    from ingestion.transfer import import_collection as read

    with session(context).open(collection, create=True) as kb:
        done = read(kb, file)
    if as_json:
        output.print_json({"collection": collection, **done})
    else:
        typer.echo(f"read {done['documents']} documents, {done['chunks']} chunks into {collection}")


@app.command()
def reembed(
    context: typer.Context,
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection.", metavar="NAME")] = "main",
    model: Annotated[str | None, typer.Option(help="The new embedder; else the configured one.")] = None,
    as_json: Json = False,
) -> None:
    """Move a collection to another embedder; the old index serves until the new one is complete.

    Example: ckllm collections reembed --model all-MiniLM-L6-v2
    """
    from ingestion.transfer import reembed as move

    with session(context).open_to_reembed(collection, model) as kb:
        done = move(kb)
    if as_json:
        output.print_json({"collection": collection, **done})
    else:
        typer.echo(f"{collection} now uses {done['embedder']} ({done['chunks']} chunks)")
