"""Which files a source given by the user means: folders, globs, single files; and what `--sync` may remove.

Inside a folder, names that begin with a dot are not sources (as in a shell's `*`), nor is the knowledge base's own home; neither
is counted. Links to folders are not followed, so a circle of links cannot hang the walk. A glob means what a shell with `**`
means by it; a folder that it matches is walked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ckllm.contracts import Rejected
from ckllm.errors import UsageError
from ingestion.nesting import readings

STDIN = "-"
FETCHED = ("http://", "https://")
"""What the addresses of sources begin with."""
_MAGIC = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PIECES = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|[^*?\[]+|\[")


class Name(str):
    """The name of one file: `*`, `?` and `[` in it are no pattern."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name that may be a source; nothing has been read of it."""

    uri: str
    root: str | None = None
    """The folder it was found in, None where it was given by name."""
    is_url: bool = False


class Listing:
    """Walks what was given once; afterwards `covers` knows which sources belong to it."""

    def __init__(self, home: Path) -> None:
        self._home = os.path.realpath(home)
        self._folders: list[str] = []
        self._patterns: list[re.Pattern[str]] = []
        self._names: set[str] = set()
        self._unlisted: list[str] = []
        self.missing: set[str] = set()
        """Paths given by name that do not exist."""

    def candidates(self, given: str | os.PathLike[str]) -> Iterator[Candidate | Rejected]:
        """Every candidate of one given source, in a stable order."""
        name = os.fspath(given)
        literal = isinstance(given, Name)
        if not name.strip():
            raise UsageError("an empty source: give a file, a folder, a glob, a URL, or - for standard input")
        if name == STDIN and not literal:
            yield Candidate(STDIN)
        elif _SCHEME.match(name) and not literal:
            yield from self._url(name)
        else:
            yield from self._path(name, literal=literal)

    def covers(self, uri: str) -> bool:
        """Whether a source of this name would have been found, had it still been there."""
        outer = readings(uri)
        if any(_inside(one, folder) for folder in self._unlisted for one in outer):
            return False
        return any(
            one in self._names
            or any(_inside(one, folder) for folder in self._folders)
            or any(pattern.fullmatch(one) for pattern in self._patterns)
            for one in outer
        )

    def _url(self, url: str) -> Iterator[Candidate | Rejected]:
        bare = url.split("#", 1)[0]
        self._names.add(bare)
        if bare.lower().startswith(FETCHED):
            yield Candidate(bare, is_url=True)
        else:
            yield Rejected(url, "fetch", "only http and https addresses can be fetched: give one of these, or a file")

    def _path(self, name: str, *, literal: bool) -> Iterator[Candidate | Rejected]:
        path = os.path.abspath(name)  # noqa: PTH100 - links stay links
        if Path(path).is_dir():
            self._folders.append(path)
            yield from self._walk(path, path)
        elif os.path.lexists(path):
            self._names.add(path)
            yield Candidate(path)
        elif _MAGIC.search(name) and not literal:
            yield from self._glob(path)
        else:
            self._names.add(path)
            self.missing.add(path)
            yield Rejected(printable(path), "fetch", "no such file or folder: check the path")

    def _walk(
        self, folder: str, root: str, *, hidden: bool = False, leads: Callable[[str], bool] = lambda _: True
    ) -> Iterator[Candidate | Rejected]:
        """Files below `folder`, by name; `hidden` lets names with a leading dot in, `leads` tells which folders to go into."""
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            try:
                with os.scandir(current) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                self._unlisted.append(current)
                yield Rejected(
                    printable(current), "fetch", f"the folder cannot be listed: {error.strerror}; its documents are kept"
                )
                continue
            shown = [entry for entry in entries if hidden or not entry.name.startswith(".")]
            folders = [entry for entry in shown if entry.is_dir(follow_symlinks=False)]
            yield from (Candidate(entry.path, root) for entry in shown if not entry.is_dir(follow_symlinks=False))
            waiting += [entry.path for entry in reversed(folders) if not self._is_home(entry) and leads(entry.path)]

    def _is_home(self, folder: os.DirEntry[str]) -> bool:
        """Whether it is the knowledge base's own, by whatever way it was reached."""
        return folder.name == os.path.basename(self._home) and os.path.realpath(folder) == self._home  # noqa: PTH119

    def _glob(self, pattern: str) -> Iterator[Candidate | Rejected]:
        parts = Path(pattern).parts
        fixed = list(takewhile(lambda part: not _MAGIC.search(part), parts))
        base = str(Path(*fixed))
        wanted = re.compile(_regex(pattern) + "(?:/.*)?", re.DOTALL)
        self._patterns.append(wanted)
        rest = parts[len(fixed) :]
        hidden = any(part.startswith(".") for part in rest)
        steps = [re.compile(_regex(part), re.DOTALL) for part in takewhile(lambda part: "**" not in part, rest)]

        def leads(below: str) -> bool:
            """Whether something in this folder could match: a look at it must not mean a look at the whole disk."""
            return all(step.fullmatch(name) for step, name in zip(steps, Path(below).relative_to(base).parts, strict=False))

        any_found = False
        for found in self._walk(base, base, hidden=hidden, leads=leads) if Path(base).is_dir() else ():
            if isinstance(found, Rejected) or wanted.fullmatch(found.uri):
                any_found = True
                yield found
        if not any_found:
            yield Rejected(
                printable(pattern), "fetch", "nothing matches this pattern: check the path, and quote it from the shell"
            )


def printable(name: str) -> str:
    """A name that can be written as UTF-8, for messages."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _regex(pattern: str) -> str:
    """A glob as a regular expression over absolute paths: `**` crosses folders, everything else stays in one."""
    parts = []
    for piece in _PIECES.findall(pattern):
        if piece == "**/":
            parts.append("(?:[^/]+/)*")
        elif piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece.startswith("[") and len(piece) > 2:
            parts.append(_one_of(piece[1:-1]))
        else:
            parts.append(re.escape(piece))
    return "".join(parts)


def _one_of(inner: str) -> str:
    """A set of characters and ranges as a regular expression; a range that runs backwards holds nothing."""
    negated, inner = inner.startswith("!"), inner.removeprefix("!")
    kept = ""
    while inner:
        first, last = (inner[0], inner[2]) if len(inner) > 2 and inner[1] == "-" else (inner[0], "")
        inner = inner[3 if last else 1 :]
        if not last or first <= last:
            kept += re.escape(first) + ("-" + re.escape(last) if last else "")
    if negated:
        return f"[^/{kept}]"
    return f"(?!/)[{kept}]" if kept else "(?!)"
