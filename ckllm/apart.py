"""A function in a process of its own, which takes its memory and its libraries with it when it ends.

A module that is called so ends in ``if __name__ == "__main__": answer(lambda: work(*sys.argv[1:]))``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ckllm.errors import DataError


def called_apart(module: str, *arguments: object) -> Mapping[str, Any]:
    """What `module`, run with these arguments, gives to `answer`. Raises DataError with what it raised there, or said last."""
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if "result" not in told:
        raise DataError(told.get("error") or (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    result: Mapping[str, Any] = told["result"]
    return result


def answer(work: Callable[[], Mapping[str, Any] | None]) -> None:
    """Tell the caller, in the last line that is written, what `work` returns (JSON values), or its DataError."""
    try:
        told: dict[str, Any] = {"result": dict(work() or {})}
    except DataError as error:
        told = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(told) + "\n")
