"""`ckllm serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; without API keys only loopback.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
    as_json: Json = False,
) -> None:
    """The HTTP service: OpenAI's protocol with citations, for programs and for the web application.

    With --json, a line with its address is printed once it listens; its log goes to stderr.

    Example: ckllm serve --port 8000
    """
    from ckllm.service.run import serve as run

    given = {"service.host": host, "service.port": port}
    settings = session(context).settings({key: value for key, value in given.items() if value is not None})
    run(settings, (lambda address: output.print_json({"address": address})) if as_json else None)
