"""`ckllm ui`: the web application, with a service if none runs for this home."""

from __future__ import annotations

from typing import Annotated

import typer

from ckllm.cli.session import Json, session


def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option(help="Address of the page; only this machine by default.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--open", help="Also open it in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """The web application: ask, see every source, add documents. Ctrl-C ends it.

    Example: ckllm ui --port 8501
    """
    from ckllm.cli.ui_processes import Page, run

    given = session(context)
    run(given, Page(host, port, browser), as_json=as_json)
