"""The SHA-256 of a file, read once; and by what a file is told to be the one that was read."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from ckllm.errors import DataError

Stamp: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of contents and of status in nanoseconds."""


def stamp(status: os.stat_result) -> Stamp:
    """Equal for two looks at a file only where it is the same file and was not written to in between."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, remembered until its stamp changes. Raises DataError where it cannot be read."""
    try:
        return _sha256(file.absolute(), stamp(file.stat()))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _sha256(file: Path, seen: Stamp) -> str:  # noqa: ARG001 - makes the cache's key
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
