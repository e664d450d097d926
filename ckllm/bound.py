"""Processes that end with the one that started them, even where that one is killed and can end nothing (Linux only).

``python bound.py PARENT COMMAND …`` becomes the command, so that its process id is the command's, and binds it to PARENT.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`; it outlives exec."""


def die_with(parent: int, by: signal.Signals) -> None:
    """Have the kernel send this process `by` when the thread that started it ends; end now where `parent` has died already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    die_with(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command comes from `ckllm ui` itself


if __name__ == "__main__":
    main()
