"""From what the user gave to sources with their bytes at hand, or the reason why not. Nothing that was found is left out."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ckllm.contracts import Rejected, Source
from ckllm.errors import DataError
from ckllm.file_hash import Stamp, stamp
from ingestion.account import Account
from ingestion.listing import STDIN, Candidate, Listing, printable
from ingestion.options import IngestOptions

if TYPE_CHECKING:
    from ingestion.fetch import Fetcher

_PIECE = 1 << 20

Hashes: TypeAlias = MutableMapping[str, tuple[Stamp, str]]
"""Path → the file's stamp and SHA-256 when it was last read: spares a long-lived process reading what has not changed."""


class Finder:
    """Finds sources. `scratch` takes the bytes of what has no file of its own."""

    def __init__(self, options: IngestOptions, scratch: Path, home: Path, account: Account, hashes: Hashes | None = None) -> None:
        self._options = options
        self._scratch = scratch
        self._account = account
        self._hashes = hashes
        self._fetcher: Fetcher | None = None
        self.listing = Listing(home)

    def find(self, given: Sequence[str | os.PathLike[str]]) -> Iterator[Source | Rejected]:
        """Each source once, in the order given; within a folder by name."""
        with self._account.clock("fetch"):
            candidates = list(chain.from_iterable(self.listing.candidates(one) for one in given))
        names = {one.source if isinstance(one, Rejected) else one.uri: one for one in candidates}
        self._account.found(len(names))
        yield from self._read(names.values())

    def _read(self, candidates: Iterable[Candidate | Rejected]) -> Iterator[Source | Rejected]:
        for candidate in candidates:
            if isinstance(candidate, Rejected):
                yield candidate
                continue
            with self._account.clock("fetch"):
                found = self._one(candidate)
            yield found

    def _one(self, candidate: Candidate) -> Source | Rejected:
        if candidate.is_url:
            return self._fetched(candidate.uri)
        if candidate.uri == STDIN:
            return self._standard_input()
        return self._file(candidate)

    def _file(self, candidate: Candidate) -> Source | Rejected:
        path, name = candidate.uri, printable(candidate.uri)
        if name != path:
            return Rejected(name, "fetch", "the name is not valid Unicode: rename the file")
        try:
            status = Path(path).stat()
            reason = self._refused(candidate, status)
            if reason:
                return Rejected(path, "detect", reason)
            sha256 = self._hash(path, status)
        except OSError as error:
            if Path(path).is_symlink():
                return Rejected(path, "detect", "a link that leads nowhere or in a circle: remove it or mend it")
            return Rejected(path, "fetch", f"cannot be read: {error.strerror or error}; check its permissions")
        return Source(path, Path(path), status.st_size, sha256, modified=status.st_mtime)

    def _refused(self, candidate: Candidate, status: os.stat_result) -> str:
        """Why this cannot be a document, told without reading it; "" where it can."""
        if candidate.root is not None and Path(candidate.uri).is_symlink():
            if stat.S_ISDIR(status.st_mode):
                return "a link to a folder, which is not followed: ingest the folder itself"
            if not os.path.realpath(candidate.uri).startswith(os.path.realpath(candidate.root) + os.sep):
                return "a link to a file outside the ingested folder: ingest the file itself"
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file (a device, pipe or socket): leave it out"
        if status.st_size == 0:
            return "empty file: it has no bytes"
        if status.st_size > self._options.max_file_bytes:
            return too_large(status.st_size, self._options.max_file_bytes)
        return ""

    def _hash(self, path: str, status: os.stat_result) -> str:
        seen = stamp(status)
        if self._hashes is not None:
            known = self._hashes.get(path)
            if known is not None and known[0] == seen:
                return known[1]
        with Path(path).open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if self._hashes is not None:
            self._hashes[path] = (seen, sha256)
        return sha256

    def _standard_input(self) -> Source | Rejected:
        path = self._scratch / "stdin"
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            while piece := sys.stdin.buffer.read(_PIECE):
                size += len(piece)
                if size > self._options.max_file_bytes:
                    return Rejected("stdin", "detect", too_large(size, self._options.max_file_bytes))
                digest.update(piece)
                file.write(piece)
        if not size:
            return Rejected("stdin", "detect", "standard input is empty: pipe a document into it")
        return Source(f"stdin:{digest.hexdigest()[:12]}", path, size, digest.hexdigest())

    def _fetched(self, url: str) -> Source | Rejected:
        if self._fetcher is None:
            from ingestion.fetch import Fetcher

            self._fetcher = Fetcher(self._options.max_file_bytes, self._scratch, allow_private=self._options.allow_private_urls)
        try:
            return self._fetcher.fetch(url)
        except DataError as error:
            return Rejected(url, "fetch", str(error))


def too_large(size: int, limit: int) -> str:
    return f"too large: {size / 1e6:,.0f} MB, the limit is {limit / 1e6:,.0f} MB (ingest.max_file_mb)"
