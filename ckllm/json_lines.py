"""Files of JSON Lines that people give: one object a line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ckllm.errors import DataError


def read_objects(file: Path) -> tuple[list[tuple[dict[str, Any], str]], str]:
    """Every object with its place, `FILE:LINE`, and the SHA-256 of the file's bytes; empty lines are left out.

    Raises DataError, with the place, for a line that is no object, and where the file cannot be read as UTF-8.
    """
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    lines = ((line, f"{file}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip())
    return [(_object(line, where), where) for line, where in lines], hashlib.sha256(data).hexdigest()


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is expected, not {type(value).__name__}")
    return value
