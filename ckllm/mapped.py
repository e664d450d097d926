"""Memory of files that are mapped and were read once: weights, of which a runtime has made copies in forms of its own."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_DONTNEED = 4
"""MADV_DONTNEED of Linux."""
_MAPS = Path("/proc/self/maps")


def release(folder: Path) -> int:
    """Take the pages of files in `folder` out of this process's memory; the bytes of the mappings. Whoever reads them again gets
    them from the file. Only mappings that cannot be written are touched. Does nothing where the system is not Linux."""
    if sys.platform != "linux":
        return 0
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    released, inside = 0, f"{folder.resolve()}{os.sep}"  # the system tells the real path
    for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        span, rights, *_, path = line.split(maxsplit=5)
        if rights.startswith("r--") and path.startswith(inside):
            start, end = (int(part, 16) for part in span.split("-"))
            released += end - start if advise(start, end - start, _DONTNEED) == 0 else 0
    return released
