"""Start here: the plot of the write path.

find sources → parse and chunk → embed → write, then remove what is gone. The three in the middle run at the same time, in
threads (the parsers in processes) with short queues between them, so that memory does not grow with the number of documents.
What a killed run leaves is finished or undone at the start of the next one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ckllm.contracts import IngestReport
from ckllm.errors import UsageError
from ingestion.account import Account, merged
from ingestion.embed import embedded
from ingestion.known import UNFINISHED
from ingestion.listing import Name
from ingestion.nesting import outermost
from ingestion.options import IngestOptions, ProgressListener
from ingestion.overlap import Overlapped
from ingestion.recovery import drop_obsolete, recover
from ingestion.run import Continuation, Run, Runner
from ingestion.target import Target
from ingestion.workplace import writing

_DOCUMENTS_AHEAD = 32
_BATCHES_AHEAD = 4


def ingest(
    sources: Sequence[str | os.PathLike[str]],
    kb: Target,
    *,
    groups: Sequence[str] = (),
    sync: bool = False,
    options: IngestOptions | None = None,
    progress: ProgressListener | None = None,
    continuation: Continuation | None = None,
    runner: Runner | None = None,
) -> IngestReport:
    """Bring a collection up to date with its sources: files, folders, globs, http(s) addresses, "-" for standard input.

    New documents are added, changed ones replaced in one step, unchanged ones cost a look. With `sync`, documents of the
    collection that these sources cover and that are there no more are removed. `runner`: where to parse and embed, if not here;
    what is written is written here. Raises StoreError when the knowledge base does
    not serve; what was finished stays, and the next run goes on from there.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    if not all(group.strip() for group in groups):
        raise UsageError("a group's name is empty, so nobody could see the documents: leave it out, and everybody can")
    options = options or IngestOptions.from_settings(kb.settings.ingest)
    account = Account(kb.collection, progress)
    with writing(kb.home) as scratch:
        before = kb.catalogue.live(kb.collection)
        recover(kb)
        run = Run(kb, account, options, tuple(groups), scratch, continuation or Continuation(), before=before, runner=runner)
        with (
            Overlapped(run.preparation.prepared(run.finder.find(sources)), _DOCUMENTS_AHEAD, "parse", run.halt) as prepared,
            Overlapped(embedded(prepared, run.embedder, account), _BATCHES_AHEAD, "embed", run.halt) as batches,
            run.parsing(),
        ):
            for batch in batches:
                run.writer.write(batch)
        if sync:
            run.preparation.remove(run.gone())
        run.writer.checkpoint()
    return account.report()


def remove(kb: Target, ids: Iterable[str], patience_s: float = -1) -> int:
    """Remove documents of any collection with everything that is stored of them; returns how many.

    Raises UnknownDocumentError, before anything is removed, for an id that does not exist, and filelock.Timeout where another
    run goes on for longer than `patience_s`; below 0 its end is waited for.
    """
    wanted = list(dict.fromkeys(ids))
    with writing(kb.home, patience_s):
        kb.catalogue.remove(wanted)
        for collection in kb.catalogue.collections():
            drop_obsolete(kb, collection.name)
    return len(wanted)


def retry(
    kb: Target,
    *,
    groups: Sequence[str] | None = None,
    options: IngestOptions | None = None,
    progress: ProgressListener | None = None,
) -> IngestReport:
    """Ingest again what failed or was interrupted, each for the groups of that attempt, or all of it for `groups`."""
    waiting: dict[tuple[str, ...], dict[str, None]] = {}
    failures, unfinished = kb.catalogue.failures(kb.collection), kb.catalogue.versions(kb.collection, *UNFINISHED)
    attempts = [(one.attempted, one.source) for one in failures] + [(one.groups, one.source) for one in unfinished]
    for attempted, source in attempts:
        waiting.setdefault(attempted if groups is None else tuple(groups), {})[outermost(source)] = None
    reports = [
        ingest(named(sources), kb, groups=given, options=options, progress=progress, continuation=Continuation(again=True))
        for given, sources in waiting.items()
    ]
    return merged(kb.collection, reports)


def named(sources: Iterable[str]) -> list[str]:
    """Names of known sources, for `ingest`: `*` and `?` in a file's name are no pattern."""
    return [source if "://" in source else Name(source) for source in sources]
