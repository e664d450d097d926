"""Converted models in the models folder: made once, whole or not at all, described by what they were made of.

A converted folder holds `ckllm.json`: the conversion's version, the source's SHA-256, and what was checked. One that was made
of another source or by another version is made again; several processes may ask at once, one converts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ckllm.errors import DataError
from ckllm.llm.tokenisation import read_json
from ckllm.made_folder import made_folder

DESCRIPTION = "ckllm.json"
Build = Callable[[Path], Mapping[str, Any]]
"""Fills a folder; returns what it checked, for the description."""


def converted(folder: Path, identity: Mapping[str, Any], build: Build) -> Path:
    """The folder, made by `build` where it is not there yet. `identity` (JSON values) says what it is made of, and by what.

    Raises DataError where the models folder cannot be written.
    """
    try:
        return made_folder(folder, lambda: _described(folder) == identity, lambda making: _fill(making, identity, build))
    except OSError as error:
        raise DataError(
            f"cannot write the converted model {folder}: {error.strerror or error}; free space or set another --home"
        ) from error


def _described(folder: Path) -> Mapping[str, Any] | None:
    try:
        identity = read_json(folder / DESCRIPTION).get("identity")
    except DataError:
        return None
    return identity if isinstance(identity, dict) else None


def _fill(folder: Path, identity: Mapping[str, Any], build: Build) -> None:
    checks = build(folder)
    content = {"identity": dict(identity), "checks": dict(checks)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")
