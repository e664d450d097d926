"""The SHA-256 of a file, read once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from ckllm.errors import DataError


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, remembered until it is another file, or its size or either of its times changes.

    Raises DataError where it cannot be read.
    """
    try:
        status = file.stat()
        seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return _sha256(file.absolute(), seen)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _sha256(file: Path, seen: tuple[int, ...]) -> str:  # noqa: ARG001 - makes the cache's key
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
