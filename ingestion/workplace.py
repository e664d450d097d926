"""The writer's lock, and a folder for temporary files."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ckllm.errors import StoreError, UsageError, is_disk_full


@contextmanager
def writing(home: Path, patience_s: float = -1) -> Iterator[Path]:
    """Hold the lock that lets one process at a time change a knowledge base; a second one waits for the first.

    Raises filelock.Timeout where that takes longer than `patience_s`; below 0 it may take for ever.

    Yields an empty folder, which is removed at the end; one that a killed run has left is removed at the beginning. A full disk
    becomes a StoreError: the run ends, and what was finished stays.
    """
    scratch = home / "ingesting"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "writer.lock", timeout=patience_s):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if is_disk_full(error):
            raise StoreError(
                f"the disk is full ({error.filename or home}): free some space and run again; nothing is lost"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UsageError(f"{error.filename or home} cannot be written: {error.strerror}; check its permissions") from error
        raise
