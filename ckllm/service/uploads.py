"""Where uploaded files are kept: `HOME/uploads/USER/COLLECTION/NAME`, so that a document's source stays, and a file of the same
name replaces the one before it."""

from __future__ import annotations

import contextlib
import os
import shutil
import unicodedata
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import uuid4

from ckllm.errors import StoreError
from ckllm.service.errors import HttpError

_NAME_BYTES = 200


class Uploads:
    def __init__(self, home: Path) -> None:
        self._root = home / "uploads"

    def keep(self, stream: BinaryIO, name: str, user: str, collection: str) -> tuple[str, str]:
        """Store a file; its shown name and its path. HttpError 422 for a name that is none, StoreError for a full disk."""
        shown = file_name(name)
        folder = self._root / (folder_name(user) if user else "@owner") / folder_name(collection)
        coming = folder / f".{uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with coming.open("xb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            coming.replace(folder / shown)
        except OSError as error:
            with contextlib.suppress(OSError):
                coming.unlink(missing_ok=True)
            raise StoreError(f"the upload could not be stored: {error.strerror or error}") from error
        return shown, str(folder / shown)

    def forget(self, source: str) -> None:
        """Delete a document's file, where it is an uploaded one and not a member of another."""
        path = Path(source)
        if "!/" not in source and path.is_relative_to(self._root):
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
    name = quote(text, safe=" ")[:_NAME_BYTES]
    return name if name.strip(". ") else name.replace(".", "%2E").replace(" ", "%20")
