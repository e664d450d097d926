"""Folders that are made once, whole or not at all, and say what they were made of: converted models.

The description, `ckllm.json`, is written last, with the sizes of the other files. A folder without it, with files of other sizes
(a power cut, a copy that was broken off), or with that of another source or another version of the conversion, is made again;
several processes may ask at once, one makes it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ckllm.errors import DataError

DESCRIPTION = "ckllm.json"
Build: TypeAlias = Callable[[Path], Mapping[str, Any]]
"""Fills a folder; returns what it checked, for the description."""


def converted(folder: Path, identity: Mapping[str, Any], build: Build) -> Path:
    """The folder, made by `build` where it is not there yet. `identity` (JSON values) says what it is made of, and by what.

    Raises DataError where it cannot be written.
    """
    try:
        return made_folder(folder, lambda: _is_current(folder, identity), lambda making: _fill(making, identity, build))
    except OSError as error:
        raise DataError(
            f"cannot write the converted model {folder}: {error.strerror or error}; free space or set another --home"
        ) from error


def discard(folder: Path) -> None:
    """Have the folder made again when it is next asked for, because it turned out to be damaged."""
    with contextlib.suppress(OSError):
        (folder / DESCRIPTION).unlink()


def described(folder: Path) -> Mapping[str, Any]:
    """What a folder says of itself; empty where it says nothing that can be read."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return description if isinstance(description, dict) else {}


def sizes(folder: Path) -> dict[str, int]:
    """Every file below a folder, and its bytes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def is_whole(folder: Path, files: Mapping[str, int]) -> bool:
    """Whether a folder has these files, of these sizes."""
    try:
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except OSError:
        return False


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


def _is_current(folder: Path, identity: Mapping[str, Any]) -> bool:
    description = described(folder)
    return description.get("identity") == identity and is_whole(folder, description.get("files", {}))


def _fill(folder: Path, identity: Mapping[str, Any], build: Build) -> None:
    checks = build(folder)
    content = {"identity": dict(identity), "files": sizes(folder), "checks": dict(checks)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")


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
