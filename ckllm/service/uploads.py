"""Where uploaded files are kept: `HOME/uploads/USER/COLLECTION/NAME`, so that a document's source stays, and a file of the same
name replaces the one before it."""

from __future__ import annotations

import contextlib
import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import uuid4

from filelock import FileLock

from ckllm.contracts import digest
from ckllm.errors import StoreError
from ckllm.service.errors import HttpError

_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Arrival:
    """An upload whose bytes are stored, but not yet at its path."""

    shown: str
    path: Path
    stored: Path


class Uploads:
    def __init__(self, home: Path) -> None:
        self._root = home / "uploads"

    def store(self, stream: BinaryIO, name: str, user: str, collection: str) -> Arrival:
        """Store a file's bytes. HttpError 422 for a name that is none, StoreError for a full disk."""
        shown = file_name(name)
        folder = self._root / (folder_name(user) if user else "@owner") / folder_name(collection)
        coming = folder / f".{uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with coming.open("xb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                coming.unlink(missing_ok=True)
            raise _not_stored(error) from error
        return Arrival(shown, folder / shown, coming)

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """While this is held no other upload comes to its path, and no other job is made for one."""
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self._root / "@lock")  # no user's folder: names of those have their @ escaped
            lock.acquire()
        except OSError as error:
            raise _not_stored(error) from error
        try:
            yield
        finally:
            lock.release()

    def place(self, arrivals: Iterable[Arrival]) -> None:
        """Bring uploads to their paths, in place of earlier ones of the same names."""
        try:
            for one in arrivals:
                one.stored.replace(one.path)
        except OSError as error:
            raise _not_stored(error) from error

    def take_back(self, arrivals: Iterable[Arrival]) -> None:
        """Delete what has been brought to its path: bytes without a job of their own would be taken for an earlier job's."""
        for one in arrivals:
            if not one.stored.exists():
                one.path.unlink(missing_ok=True)

    def drop(self, arrivals: Iterable[Arrival]) -> None:
        """Delete what has not been brought to its path."""
        for one in arrivals:
            one.stored.unlink(missing_ok=True)

    def forget(self, source: str) -> None:
        """Delete a document's file, where it is an uploaded one and not a member of another."""
        path = Path(source)
        if path.is_relative_to(self._root) and "!/" not in str(path.relative_to(self._root)):
            path.unlink(missing_ok=True)


def file_name(given: str) -> str:
    """The last part of a name, without what a file system or a terminal could take for something else."""
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C").strip().lstrip(".")
    if not kept:
        raise HttpError(422, "file_name", "a file has no name: give one, with its ending", "files")
    stem, dot, ending = kept.rpartition(".")
    ending = (dot + ending) if stem and len(ending) <= 16 else ""
    room = _NAME_BYTES - len(ending.encode())
    stem = kept[: len(kept) - len(ending)]
    return stem.encode()[:room].decode("utf-8", "ignore") + ending


def folder_name(text: str) -> str:
    """One name for one text: what is too long is cut, with a digest of the whole after a character that no other name has."""
    name = quote(text, safe=" ")
    if not name.strip(". "):
        name = name.replace(".", "%2E").replace(" ", "%20")
    return name if len(name) <= _NAME_BYTES else f"{name[: _NAME_BYTES - 33]}={digest(text)}"


def _not_stored(error: OSError) -> StoreError:
    return StoreError(f"the upload could not be stored: {error.strerror or error}")
