"""`ckllm eval`: how good search, citations, answers and refusals are, and whether a change made them worse."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ckllm.cli import output
from ckllm.cli.session import Json, session
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.config import Settings
    from ckllm.evaluation.compare import Change
    from ckllm.evaluation.corpus import EvidenceMap
    from ckllm.evaluation.dataset import Dataset
    from ckllm.evaluation.run import Report, Row
    from ckllm.knowledge_base import KnowledgeBase

EXIT_WORSE, EXIT_INTERRUPTED = 1, 130
EVERY_S = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""
SHOWN = (
    "recall@1", "recall@5", "recall@10", "ndcg@10", "mrr", "citation_precision", "citation_recall", "citation_char_precision",
    "citation_char_recall", "exact", "f1", "f1_answered", "answered", "refused_unanswerable", "refusal_balanced_accuracy",
    "risk_coverage_area", "supported", "quoted", "numbers_kept", "names_kept", "verification_precision", "verification_recall",
    "latency_total_p50_s", "latency_total_p95_s",
    "failed",
)  # fmt: skip


IN_EACH_LANGUAGE = (
    "recall@1", "recall@5", "f1", "refusal_balanced_accuracy", "verification_precision", "verification_recall",
)  # fmt: skip


class _RunByDefault(TyperGroup):
    """`ckllm eval DATASET` is `ckllm eval run DATASET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    help="Scores of search, citations, answers and refusals on a set of questions: `ckllm eval DATASET`.",
    no_args_is_help=True,
)


@app.command("run")
def run(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(help="A folder with corpus.jsonl, or a file of questions.", metavar="DATASET")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="What a file's questions are asked.")] = "main",
    baseline: Annotated[Path | None, typer.Option(help="A saved run to compare with; exit 1 if worse.", metavar="FILE")] = None,
    fail_below: Annotated[list[str] | None, typer.Option(help="Exit 1 if a figure is lower.", metavar="METRIC=VALUE")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Ask a sample of so many questions; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    expert: Annotated[str, typer.Option(help="auto, base, or names of experts.")] = "auto",
    search_only: Annotated[bool, typer.Option("--search-only", help="Only search, without answers.")] = False,
    levels: Annotated[bool, typer.Option("--levels", help="Ask at every level of caution, for the risk curve.")] = False,
    articles: Annotated[bool, typer.Option("--articles", help="Rows of one title are one document.")] = False,
    work: Annotated[Path | None, typer.Option(help="Keep the ingested corpus here for the next run.", metavar="DIR")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write report.json and report.html here.")] = None,
    as_json: Json = False,
) -> None:
    """Ask every question of a set, and score retrieval, citations, answers, refusals and time, in all and by language.

    A folder's corpus is ingested into a place of its own, never into your collections. Each run is saved, with an HTML page,
    under evaluations/ in the home. Exit code 1: worse than the baseline beyond chance, or below a bar.

    Example: ckllm eval questions.jsonl --collection main --fail-below recall@5=0.9
    """
    from ckllm.evaluation import compare
    from ckllm.evaluation.dataset import read_dataset
    from ckllm.evaluation.run import Asking, load

    bars = compare.bars(fail_below or ())
    before = load(baseline) if baseline is not None else None
    questions = read_dataset(dataset).sample(limit, seed)
    settings = session(context).settings()
    asking = Asking({"expert": expert}, search_only)
    where = _place(settings, questions)
    with _opened(settings, questions, collection, articles, work) as (kb, evidence):
        report = _run(kb, questions, evidence, asking, where, levels and not search_only)
    changed = compare.changes(before, report) if before is not None else []
    complaints = compare.below(report, bars)
    complaints += [f"{one.metric} fell from {one.before:.4f} to {one.after:.4f}" for one in changed if one.verdict == "worse"]
    saved = _save(report, changed, complaints, where, out)
    if as_json:
        output.print_json(
            report.as_json(rows=False)
            | {"changes": [one.as_json() for one in changed], "complaints": complaints, "saved": str(saved)}
        )
    else:
        _print(report, changed, saved)
    if unplaced := sum(row.unplaced for row in report.rows):
        typer.echo(
            f"ckllm: {unplaced} evidence items are not in the documents and count as not found: check doc, start, end", err=True
        )
    for one in complaints:
        typer.echo(f"ckllm: {one}", err=True)
    if len(report.rows) < len(questions.questions):
        raise typer.Exit(EXIT_INTERRUPTED)
    if complaints:
        raise typer.Exit(EXIT_WORSE)


@app.command("make")
def make(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="The documents to ask about.", metavar="COLLECTION")] = "main",
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.", metavar="FILE")] = Path("questions.jsonl"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="The most questions.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Draft questions with answers and evidence from a collection's own sentences, to be edited by hand.

    Example: ckllm eval make main --out questions.jsonl
    """
    from ckllm.evaluation.drafting import draft

    if out.exists():
        raise UsageError(f"{out} is there already: give another file, the draft may have been edited")
    with session(context).open(collection) as kb:
        if kb.catalogue.collection(collection) is None:
            raise UsageError(f"there is no collection {collection!r}: `ckllm collections list` shows those there are")
        rows = draft(kb, count, seed)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    if as_json:
        output.print_json({"file": str(out.absolute()), "questions": len(rows)})
    else:
        typer.echo(f"wrote {len(rows)} questions to {out}: read them, rewrite them, and add some that cannot be answered")


@contextmanager
def _opened(
    settings: Settings, dataset: Dataset, collection: str, articles: bool, work: Path | None
) -> Iterator[tuple[KnowledgeBase, EvidenceMap]]:
    """The collection that is asked, with the places of the evidence in it."""
    from ckllm.assembly import open_knowledge_base
    from ckllm.evaluation.corpus import EvidenceMap, own_home, write_corpus

    if not dataset.corpus:
        with open_knowledge_base(collection=collection, settings=settings, create=False) as kb:
            if kb.catalogue.collection(collection) is None:
                raise UsageError(f"there is no collection {collection!r}: `ckllm collections list` shows those there are")
            yield kb, EvidenceMap(kb)
        return
    from ingestion import ingest

    with own_home(settings, work) as own, open_knowledge_base(settings=own) as kb:
        folder = own.home.parent / "corpus"
        places = write_corpus(dataset.corpus, folder, articles=articles)
        typer.echo(f"ingesting {len(dataset.corpus)} rows of {dataset.name} into {own.home}", err=True)
        report = ingest([str(folder)], kb, sync=True)
        for one in report.rejected[:5]:
            typer.echo(f"  rejected {one.source}: {one.reason}", err=True)
        yield kb, EvidenceMap(kb, places)


def _run(kb: KnowledgeBase, dataset: Dataset, evidence: EvidenceMap, asking: Any, where: Path, levels: bool) -> Report:
    """All questions, each row written to a file as it is made; what was asked is saved even if the run is interrupted."""
    from ckllm.assembly import with_caution
    from ckllm.evaluation.run import LEVELS, evaluate, summarise

    where.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    log = where.with_suffix(".rows.jsonl")
    with log.open("w", encoding="utf-8") as file, _shown(len(dataset.questions)) as progress:

        def keep(row: Row) -> None:
            rows.append(row)
            file.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")
            file.flush()
            progress(rows)

        try:
            evaluate(kb, dataset, evidence, asking, keep)
        except KeyboardInterrupt:
            typer.echo(f"\ninterrupted after {len(rows)} of {len(dataset.questions)} questions", err=True)
            if not rows:
                raise
    log.unlink()
    others: dict[str, list[Row]] = {}
    for level in LEVELS if levels else ():
        if level != kb.settings.answer.caution:
            typer.echo(f"asking again at the level {level}", err=True)
            try:
                others[level] = evaluate(with_caution(kb, level), dataset, evidence, asking, lambda _row: None)
            except KeyboardInterrupt:  # what is there is saved
                break
    return summarise(rows, _about(kb.settings, dataset, len(rows)), others)


def _about(settings: Settings, dataset: Dataset, asked: int) -> dict[str, Any]:
    from ckllm import __version__

    return {
        "dataset": dataset.name, "sha256": dataset.sha256, "questions": asked, "version": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "llm": settings.llm.model,
        "embedder": settings.embedding.model, "caution": settings.answer.caution,
    }  # fmt: skip


def _place(settings: Settings, dataset: Dataset) -> Path:
    """Where this run is saved; its name is new."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in dataset.name)
    stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{name}"
    folder = settings.home / "evaluations"
    numbers = ("", *(f"-{n}" for n in range(2, 1000)))
    taken = {file.name.split(".")[0] for file in folder.glob(f"{stem}*")} if folder.is_dir() else set()
    return folder / f"{next(f'{stem}{number}' for number in numbers if f'{stem}{number}' not in taken)}.json"


def _save(report: Report, changes: list[Change], complaints: list[str], where: Path, out: Path | None) -> Path:
    from ckllm.evaluation.page import page
    from ckllm.evaluation.run import save

    html = page(report, changes, complaints)
    for file in (where, *([out / "report.json"] if out is not None else [])):
        save(report, file)
        file.with_suffix(".html").write_text(html, encoding="utf-8")
    return where


def _print(report: Report, changes: list[Change], saved: Path) -> None:
    known = [name for name in SHOWN if name in report.metrics]
    output.print_table(
        ("figure", "value", "questions"), ([name, f"{report.metrics[name]:.3f}", report.counts[name]] for name in known), empty=""
    )
    if len(report.by_language) > 1:
        few = [name for name in known if name in IN_EACH_LANGUAGE]
        rows = ([lang, *(f"{v[n]:.3f}" if n in v else "" for n in few)] for lang, v in report.by_language.items())
        output.print_table(("language", *few), rows, empty="")
    if counts := report.statements.get(""):
        output.print_table(("statements", "accepted", "of"), ([kind, *two] for kind, two in counts.items()), empty="")
    if changes:
        cells = (
            [one.metric, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]",
             one.verdict]
            for one in changes
        )  # fmt: skip
        output.print_table(("figure", "before", "now", "difference", ""), cells, empty="")
    typer.echo(f"saved {saved} and its .html")


@contextmanager
def _shown(total: int) -> Iterator[Callable[[list[Row]], None]]:
    """How far it is, on stderr: a bar in a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        last = [time.monotonic()]

        def line(rows: list[Row]) -> None:
            if len(rows) == total or time.monotonic() - last[0] >= EVERY_S:
                last[0] = time.monotonic()
                typer.echo(f"{len(rows)}/{total} questions, {sum(bool(row.error) for row in rows)} failed", err=True)

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=output.console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.update(task, completed=len(rows), description=f"{sum(bool(r.error) for r in rows)} failed")
