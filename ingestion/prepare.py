"""The first half of the write path, up to chunks: detect → parse → chunk, with several files being parsed at a time.

Containers. An archive is a folder: it is opened in every run, its members are sources of their own, and it counts itself only
when it is refused. A message is a document with attachments. These are PENDING in the catalogue before their message is PARSED,
so that the run after one that was killed in between finds that something is missing; a message that is unchanged and lacks
nothing is not opened.

What is begun and what is parsed is written down together, a transaction for as much as has come together meanwhile: one for a
document where parsing takes long, one for several where it does not.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ckllm.contracts import Chunk, Document, Rejected, Source
from ckllm.errors import DataError
from ckllm.store.catalogue_rows import Begun, Parsed, check_storable
from ingestion.account import Account
from ingestion.chunk import chunks_of
from ingestion.known import Job, Known, Prepared
from ingestion.listing import FETCHED
from ingestion.nesting import nameless_inside
from ingestion.options import IngestOptions
from ingestion.parse.archive import ARCHIVE_TYPES, members
from ingestion.parse.detect import detect
from ingestion.target import Target

_NAMELESS = "a folder beside it has its name with a ! behind, so what is in both would be called the same: rename one of them"


class Parsing(Protocol):
    """Where documents are parsed; `ingestion.parse.worker.ParserPool` does it in processes."""

    def submit(self, source: Source, media_type: str = "") -> Future[Document]: ...


@dataclass(slots=True)
class _Parse:
    """A file on its way through the parsers."""

    job: Job
    result: Future[Document]
    for_children: bool
    """The document itself is settled, only its attachments are wanted."""


@dataclass(slots=True)
class Preparation:
    """Takes sources, yields what is ready to be embedded; everything else goes to the account and the catalogue."""

    target: Target
    known: Known
    account: Account
    options: IngestOptions
    parsing: Parsing
    scratch: Path
    groups: tuple[str, ...]
    ahead: int
    """Files given to the parsers before the first of them is waited for."""
    halt: threading.Event
    """Set when the run is given up: what the parsers then say is no verdict on a file."""
    again: bool = False
    """Open containers again for the sake of members that failed before."""
    seen: set[str] = field(default_factory=set)
    _inner: deque[Source | Rejected] = field(default_factory=deque)
    _begun: set[str] = field(default_factory=set)
    _files: deque[_Parse] = field(default_factory=deque)
    _new: list[Begun] = field(default_factory=list)
    """To be PENDING with the next transaction."""
    _read: list[tuple[Job, Parsed]] = field(default_factory=list)
    """To be PARSED with the next transaction."""
    _ready: list[Prepared] = field(default_factory=list)
    _opened: bool = False

    def prepared(self, found: Iterable[Source | Rejected]) -> Generator[Prepared, None, None]:
        """Versions in the order of their sources; attachments and members follow their container."""
        outer = iter(found)
        more = True
        while more or self._files:
            more = self._fill(outer)
            if self._files and not self._files[0].result.done():
                self._write_down()
                yield from self._handed_on()
            if self._files:
                self._finish(self._files.popleft())
            while self._files and self._files[0].result.done():
                self._finish(self._files.popleft())
            self._write_down()
            yield from self._handed_on()
            more = more or bool(self._inner)

    def _fill(self, outer: Iterator[Source | Rejected]) -> bool:
        """Take sources until enough of them are being parsed, or are ready; False where there is no other."""
        while len(self._files) < self.ahead and len(self._ready) < self.ahead:
            source = self._inner.popleft() if self._inner else next(outer, None)
            if source is None:
                return False
            self._take(source)
        return True

    def _handed_on(self) -> list[Prepared]:
        ready, self._ready = self._ready, []
        return ready

    def _write_down(self) -> None:
        if not self._new and not self._read:
            return
        with self.account.clock("store"):
            self.target.catalogue.advance(self.target.collection, self._new, [parsed for _, parsed in self._read])
        for job, parsed in self._read:
            self.account.parsed(job.source.uri, len(parsed.chunks))
            self._ready.append(Prepared(job, parsed.document.title, parsed.document.lang, tuple(parsed.chunks)))
        self._new, self._read = [], []

    # -- one source

    def _take(self, source: Source | Rejected) -> None:
        uri = source.source if isinstance(source, Rejected) else source.uri
        if uri in self.seen:
            return
        self.seen.add(uri)
        if isinstance(source, Rejected):
            self._reject(source)
            return
        try:
            self._decide(self.known.job(source))
        except DataError as error:
            self._reject(Rejected(uri, "detect", str(error)), source.sha256)
        if not self._files or self._files[-1].job.source is not source:
            self._drop_bytes(source)

    def _decide(self, job: Job) -> None:
        """Nothing to do, go on from where an earlier run stopped, open, or parse."""
        uri = job.source.uri
        parsed = self.known.parsed(job)
        if parsed is not None or self.known.is_live(job):
            if self.known.missing(uri, failed_too=self.again):
                self._files.append(_Parse(job, self.parsing.submit(job.source), for_children=True))
            else:
                self._pass_over(uri)
            if parsed is not None:
                self.account.parsed(uri, parsed.chunk_count)
                chunks = tuple(self.target.catalogue.chunks(job.version_id))
                self._ready.append(Prepared(job, parsed.title, parsed.lang, chunks))
            else:
                self._unchanged(job)
            return
        with self.account.clock("detect"):
            media_type = detect(job.source, self.options.max_file_bytes)
        if media_type in ARCHIVE_TYPES:
            self._open(job.source)
            return
        self.account.reading(uri)
        # submitted first: it is parsed while the first document's collection is being opened
        result = self.parsing.submit(job.source, media_type)
        if uri not in self._begun:
            self._begin(job)
        self._files.append(_Parse(job, result, for_children=False))

    def _finish(self, file: _Parse) -> None:
        job, source = file.job, file.job.source
        try:
            with self.account.clock("parse"):
                document = file.result.result()
        except DataError as error:
            if self.halt.is_set():
                raise
            self._not_parsed(file, str(error))
            return
        finally:
            self._drop_bytes(source)
        if file.for_children:
            self._take_children(source, document.attachments)
            return
        with self.account.clock("chunk"):
            chunks = self._chunks(job, document)
        if not chunks:
            self._reject(Rejected(source.uri, "parse", "no text: nothing in it can be indexed"), source.sha256)
            return
        self._take_children(source, document.attachments)
        self._read.append((job, Parsed(job.version_id, document, chunks)))

    def _chunks(self, job: Job, document: Document) -> list[Chunk]:
        tokens, overlap = self.options.chunk_tokens, self.options.overlap_tokens
        return chunks_of(document, job.document_id, job.version_id, self.target.embedder, tokens, overlap)

    def _begin(self, job: Job) -> None:
        check_storable(job.source.uri)
        self._ensure_collection()
        self._new.append(Begun(job.source, job.version_id, job.groups))
        self._begun.add(job.source.uri)

    # -- what is settled at once

    def _unchanged(self, job: Job) -> None:
        uri = job.source.uri
        if not self.known.settled(uri):
            self.target.catalogue.settle([job.document_id])
        if self.known.was_live(uri):
            self.account.unchanged(uri)
        else:
            self.account.written(uri, replaced=job.replaces)

    def _pass_over(self, uri: str) -> None:
        """What is in an unchanged container is as it was; what failed in it is reported again."""
        for child in self.known.descendants(uri):
            self.seen.add(child)
            self.account.found(1)
            failure = self.known.failure(child)
            if failure is not None and not self.known.has_live(child):
                self.account.rejected(failure)
            else:
                self.account.unchanged(child)

    def _not_parsed(self, file: _Parse, reason: str) -> None:
        source = file.job.source
        if not file.for_children:
            self._reject(Rejected(source.uri, "parse", reason), source.sha256)
            return
        for child in self.known.missing(source.uri, failed_too=self.again):
            self.seen.add(child)
            self.account.found(1)
            self._reject(Rejected(child, "parse", f"what it is in cannot be opened again: {reason}"))

    def _reject(self, rejected: Rejected, sha256: str = "") -> None:
        """Into the account; and into the catalogue, unless there is nothing of that name that could ever be tried again."""
        self.account.rejected(rejected)
        uri = rejected.source
        if self.known.document_id(uri) or uri.lower().startswith(FETCHED) or "!/" in uri or os.path.lexists(uri):
            if self.target.catalogue.collection(self.target.collection) is None:
                self._ensure_collection()
            self._write_down()  # or what has failed would be begun afterwards
            self.target.catalogue.failed(self.target.collection, rejected, sha256, self.groups)

    def _ensure_collection(self) -> None:
        """The index, and the collection, are made by the first document that needs them; a run without work opens nothing."""
        if not self._opened:
            assert self.target.index.name
            self._opened = True

    # -- containers

    def _open(self, source: Source) -> None:
        """Take an archive's members in its place. Raises DataError where it cannot be opened at all."""
        if nameless_inside(source.uri):
            raise DataError(_NAMELESS)
        with self.account.clock("detect"):
            found, refused = members(source, self.scratch)
        damaged = [one for one in refused if one.source == source.uri]
        for one in damaged:
            self._reject(one, source.sha256)
        others = [one for one in refused if one.source != source.uri]
        self._take_children(source, found, others, whole=not damaged)
        document_id = self.known.job(source).document_id
        self._write_down()  # its members are on the books before it is not
        if not damaged and (self.known.document_id(source.uri) or source.uri in self._begun):
            self.target.catalogue.remove([document_id])

    def _take_children(
        self, container: Source, found: Sequence[Source], refused: Sequence[Rejected] = (), *, whole: bool = True
    ) -> None:
        """Queue what is in a container. If `whole`, what is known of it and is in it no more is removed."""
        if found and nameless_inside(container.uri):
            self.account.found(len(found))
            for child in found:
                self.account.rejected(Rejected(child.uri, "detect", _NAMELESS))
                self._drop_bytes(child)
            return
        names = {child.uri for child in found} | {one.source for one in refused}
        if whole:
            gone = [child for child in self.known.children(container.uri) if child not in names]
            self.remove([uri for child in gone for uri in (child, *self.known.descendants(child))])
        # a container that is a document or lies in one is not opened in every run: what is in it must be on the books before
        if "!/" in container.uri or self.known.document_id(container.uri) or container.uri in self._begun:
            for child in found:
                job = self.known.job(child)
                if child.uri not in self._begun and not self.known.is_live(job) and self.known.parsed(job) is None:
                    self._begin(job)
        self.account.found(len(names))
        self._inner.extend((*found, *refused))

    def remove(self, uris: Iterable[str]) -> None:
        """Remove documents; their chunks go with the next checkpoint."""
        ids = [document_id for document_id in map(self.known.document_id, uris) if document_id]
        if ids:
            self.target.catalogue.remove(ids)
            self.account.removed(len(ids))

    def _drop_bytes(self, source: Source) -> None:
        """Temporary files go as soon as they are read: an archive of many members must not fill the disk with them."""
        if source.path.is_relative_to(self.scratch):
            source.path.unlink(missing_ok=True)
