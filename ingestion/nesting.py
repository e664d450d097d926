"""Names of what lies in archives and messages: `CONTAINER!/MEMBER`, at any depth.

The name of a folder may end in `!` as well, so that `a!/b` may be a file in a folder. Where only names are known, every reading
counts; where the disk can be asked, it tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

INSIDE = "!/"


def readings(uri: str) -> list[str]:
    """Everything that may be the outermost container's name, the shortest first; the name itself is the last."""
    return [*(uri[:at] for at in _marks(uri)), uri]


def outermost(uri: str) -> str:
    """The file, or the address, that has to be opened to come to what is named."""
    return next((uri[:at] for at in _marks(uri) if not _is_folder(uri, at)), uri)


def depth(uri: str) -> int:
    """How many containers are around what is named."""
    return sum(not _is_folder(uri, at) for at in _marks(uri))


def _marks(uri: str) -> Iterator[int]:
    at = uri.find(INSIDE)
    while at >= 0:
        yield at
        at = uri.find(INSIDE, at + 1)


def _is_folder(uri: str, at: int) -> bool:
    return "://" not in uri and Path(uri[: at + 1]).is_dir()
