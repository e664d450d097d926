"""A folder that is made once, whole or not at all: converted models."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def made_folder(folder: Path, is_current: Callable[[], bool], fill: Callable[[Path], None]) -> Path:
    """`folder`, made by `fill` in an empty one where it is not current. OSError where it cannot be written.

    Safe against other processes doing the same, and against being killed: the folder appears in one rename, and what a killed
    process left is removed.
    """
    if is_current():
        return folder

    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if not is_current():
            _make(folder, fill)
    return folder


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}-making-"
    for left_over in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    making.chmod(0o755)
    try:
        fill(making)
        if folder.exists():
            folder.rename(making / "replaced")
        with contextlib.ExitStack() as after:
            if (making / "replaced").exists():
                replaced = folder.parent / f"{prefix}replaced"
                (making / "replaced").rename(replaced)
                after.callback(shutil.rmtree, replaced, ignore_errors=True)
            making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
