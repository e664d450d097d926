"""`ckllm ingest`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ckllm.cli import output
from ckllm.cli.session import Collection, Json, session
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.contracts import IngestReport
    from ingestion.options import Progress as IngestProgress
    from ingestion.options import ProgressListener
    from ingestion.ray_runner import RayRunner

EXIT_REJECTED = 3
SHOWN_REJECTIONS = 20
Sources = Annotated[
    list[str], typer.Argument(help="Files, folders, globs, http(s) URLs, or - for standard input.", metavar="SOURCE…")
]
Runner = Annotated[
    Literal["here", "ray"], typer.Option(help="Where to parse and embed: here, or on a Ray cluster (RAY_ADDRESS says which).")
]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only users of this group may see them; repeatable.")]


def ingest(
    context: typer.Context,
    sources: Sources,
    collection: Collection = "main",
    group: Groups = None,
    sync: Annotated[bool, typer.Option("--sync", help="Also remove documents whose source is gone.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and follow every change until Ctrl-C.")] = False,
    runner: Runner = "here",
    as_json: Json = False,
) -> None:
    """Add documents: new ones are added, changed ones replaced, unchanged ones cost nothing.

    Example: ckllm ingest handbook/ report.pdf --collection main
    """
    from ingestion import pipeline

    if watch and runner != "here":
        raise UsageError("--watch follows changes on this machine: leave out --runner")
    if watch:
        from ingestion.watch import watched

        watched(sources)  # what cannot be watched is refused before anything is done
    with session(context).open(collection, create=True) as kb:
        with running_on(runner) as remote, shown_progress(as_json) as progress:
            report = pipeline.ingest(sources, kb, groups=tuple(group or ()), sync=sync, progress=progress, runner=remote)
        if watch:
            from ingestion.watch import Between
            from ingestion.watch import watch as follow

            _print_report(report, as_json)
            kb.release_store()
            between = Between(kb.release_store, lambda error: typer.echo(f"{error}; trying again", err=True))
            for report in follow(sources, kb, groups=tuple(group or ()), between=between):
                _print_report(report, as_json)
    finish(report, as_json)


@contextmanager
def running_on(runner: str) -> Iterator[RayRunner | None]:
    """The cluster, or None for this machine."""
    if runner == "here":
        yield None
        return
    from ingestion.ray_runner import RayRunner

    with RayRunner() as cluster:
        yield cluster


def finish(report: IngestReport, as_json: bool) -> None:
    """Print the report; exit 3 where something was rejected."""
    _print_report(report, as_json)
    if report.rejected:
        raise typer.Exit(EXIT_REJECTED)


def _print_report(report: IngestReport, as_json: bool) -> None:
    if as_json:
        output.print_json(report.as_json())
        return
    out = output.console()
    counts = f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.removed} removed"
    out.print(f"{counts}, {len(report.rejected)} rejected", markup=False)
    if not (report.added or report.updated or report.unchanged or report.rejected):
        out.print("no files were found in what was given", markup=False)
    out.print(f"{report.chunks} chunks written to {report.collection!r} in {report.seconds:.1f} s", markup=False)
    for rejected in report.rejected[:SHOWN_REJECTIONS]:
        out.print(f"  {rejected.source}: {rejected.reason} ({rejected.stage})", markup=False)
    if len(report.rejected) > SHOWN_REJECTIONS:
        out.print(f"  … and {len(report.rejected) - SHOWN_REJECTIONS} more: `ckllm documents list --state failed`", markup=False)


@contextmanager
def shown_progress(as_json: bool) -> Iterator[ProgressListener | None]:
    """A bar on stderr with rate and time left, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[chunks]} chunks, {task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=output.console(stderr=True), transient=as_json) as bar:
        task = bar.add_task("ingesting", total=None, chunks=0, rate=0.0)

        def listen(now: IngestProgress) -> None:
            bar.update(task, total=now.found, completed=now.done, chunks=now.chunks, rate=now.rate)

        yield listen
