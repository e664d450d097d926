"""The Typer application: global options, the commands by name, and the one place where errors become exit codes."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ckllm.cli import answering, collections, doctor, documents, evaluating, experts, ingesting, keys, models, serve, ui
from ckllm.cli.session import Session
from ckllm.errors import CkllmError, StoreError, UpstreamError

EXIT_UNEXPECTED, EXIT_USAGE, EXIT_REJECTED, EXIT_STORE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    name="ckllm",
    help="Answers from your own documents, every sentence cited and checked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Home = Annotated[Path | None, typer.Option(help="Where everything is kept; else CKLLM_HOME, else the user data folder.")]
Config = Annotated[Path | None, typer.Option(help="A settings file; else CKLLM_CONFIG, else ckllm.toml in the home.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from ckllm import __version__

        typer.echo(f"ckllm {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    home: Home = None,
    config: Config = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the Python traceback of a failure.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Session(home=home, config=config, debug=debug)


app.command("ingest")(ingesting.ingest)
app.command("search")(answering.search)
app.command("ask")(answering.ask)
app.command("chat")(answering.chat)
app.add_typer(documents.app, name="documents")
app.add_typer(collections.app, name="collections")
app.add_typer(experts.app, name="experts")
app.add_typer(evaluating.app, name="eval")
app.add_typer(keys.app, name="keys")
app.command("complete")(models.complete)
app.command("batch")(models.batch)
app.command("benchmark")(models.benchmark)
app.command("serve")(serve.serve)
app.command("ui")(ui.ui)
app.command("doctor")(doctor.doctor)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with its code. `argv` defaults to the process's own arguments: then the process
    is ours to end, and its models are not taken apart piece by piece.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    ending = _Ending()
    if argv is None:
        atexit.register(ending)  # before any library does, so that it is called after all of them
    try:
        _run(arguments)
    except SystemExit as ended:
        ending.code = ended.code
        raise


class _Ending:
    """Ends the process where everything has been closed and said: freeing what is in memory is left to the system, which takes a
    tenth of the time that the libraries do."""

    code: object = None

    def __call__(self) -> None:
        if not isinstance(self.code, int):
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):  # the reader went away: Python's own ending says so
            return
        os._exit(self.code)


def _run(arguments: list[str]) -> None:
    try:
        app(arguments, prog_name="ckllm")
    except CkllmError as error:
        _fail(error, "--debug" in arguments)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        typer.echo("ckllm: interrupted; run the same command again to go on where it stopped", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away, as in `ckllm search … | head`
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the outermost edge: a person gets one line, `--debug` the traceback
        _fail(error, "--debug" in arguments)
        sys.exit(EXIT_UNEXPECTED)


def exit_code(error: CkllmError) -> int:
    """The exit code of an error of ours."""
    if isinstance(error, StoreError):
        return EXIT_STORE
    return EXIT_UNEXPECTED if isinstance(error, UpstreamError) else EXIT_USAGE


def _fail(error: Exception, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    known = isinstance(error, CkllmError)
    told = str(error) if known else f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    typer.echo("ckllm: " + " ".join(told.split()), err=True)
