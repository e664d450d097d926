"""Runs a command that ends with the process that started it, even where that one is killed and can end nothing.

``python bound.py PARENT COMMAND …``: the kernel sends the command SIGTERM when the process PARENT dies (Linux;
elsewhere the command runs on). The process becomes the command, so its id is the command's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`; it outlives exec."""


def bind(parent: int) -> None:
    """Ask for SIGTERM at the death of `parent`; exits where it has died already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    bind(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command comes from `ckllm ui` itself


if __name__ == "__main__":
    main()
