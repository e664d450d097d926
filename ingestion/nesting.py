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


def containers(uri: str) -> list[str]:
    """Everything that has to be opened to come to what is named, the innermost first."""
    return [uri[:at] for at in reversed(list(_marks(uri))) if not _is_folder(uri, at)]


def nameless_inside(uri: str) -> bool:
    """Whether what is in this container cannot be named: a folder beside it has the name that its members' names begin with."""
    return _is_folder(uri, len(uri))


def depth(uri: str) -> int:
    """How many containers are around what is named."""
    return len(containers(uri))


def _marks(uri: str) -> Iterator[int]:
    at = uri.find(INSIDE)
    while at >= 0:
        yield at
        at = uri.find(INSIDE, at + 1)


def _is_folder(uri: str, at: int) -> bool:
    """Whether the name up to `at`, with the `!` behind it, is a folder's."""
    return "://" not in uri and Path(uri[:at] + "!").is_dir()
