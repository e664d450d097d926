"""`ckllm keys`: who may use the service, and as a member of which groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session

if TYPE_CHECKING:
    from ckllm.store.keys import KeyRing

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
KeyGroups = Annotated[list[str] | None, typer.Option("--group", help="A group of the user; repeatable.")]


@app.command()
def create(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Whom the key is for.", metavar="USER")],
    group: KeyGroups = None,
    right: Annotated[str, typer.Option(help="read, write (includes read) or admin (includes write).")] = "read",
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once, and only its hash is kept.

    Example: ckllm keys create ana --group lab --right write
    """
    with _ring(context) as ring:
        key, secret = ring.create(user, group or (), right)
    if as_json:
        output.print_json({"id": key.id, "key": secret, "user": key.user, "groups": list(key.groups), "rights": list(key.rights)})
    else:
        typer.echo(secret)
        typer.echo(f"key {key.id} of {key.user}: note it now, it is not shown again", err=True)


@app.command("list")
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """Every key with its user, groups and rights, revoked ones too.

    Example: ckllm keys list
    """
    with _ring(context) as ring:
        keys = ring.issued()
    if as_json:
        output.print_json([key.as_json() for key in keys])
    else:
        rows = ((key.id, key.user, ", ".join(key.groups), key.rights[-1], "revoked" if key.revoked else "") for key in keys)
        output.print_table(("id", "user", "groups", "right", ""), rows, empty="No keys: the service is for this machine only.")


@app.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.", metavar="ID")],
    as_json: Json = False,
) -> None:
    """Make a key worthless at once.

    Example: ckllm keys revoke 4f0c12ab90de
    """
    with _ring(context) as ring:
        ring.revoke(key_id)
    if as_json:
        output.print_json({"revoked": key_id})
    else:
        typer.echo(f"key {key_id} is revoked")


@contextmanager
def _ring(context: typer.Context) -> Iterator[KeyRing]:
    from ckllm.assembly import open_keys

    ring = open_keys(session(context).settings())
    try:
        yield ring
    finally:
        ring.close()
