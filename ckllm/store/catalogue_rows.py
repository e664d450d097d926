"""What the catalogue hands out besides the nouns of :mod:`ckllm.contracts`, and how values are packed into columns."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ckllm.contracts import Access, Chunk, Document, RowSet, Source, VersionState
from ckllm.errors import DataError

UNFINISHED = (VersionState.PENDING, VersionState.PARSED, VersionState.EMBEDDED)


@dataclass(frozen=True, slots=True)
class CollectionRow:
    name: str
    index: str
    """IndexDescription.name: which index of the vector store serves the collection."""
    embedder: str
    dimension: int
    created: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LiveVersion:
    document_id: str
    version_id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A version that is to be PENDING."""

    source: Source
    version_id: str
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a PENDING version holds."""

    version_id: str
    document: Document
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class StoredVersion:
    version_id: str
    document_id: str
    source: str
    title: str
    lang: str
    sha256: str
    groups: tuple[str, ...]
    state: VersionState
    chunk_count: int
    created: float


@dataclass(frozen=True, slots=True)
class Rowed:
    """A live version that has tables or record sets."""

    version_id: str
    document_id: str
    source: str
    title: str
    lang: str
    media_type: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowedText:
    """Text of a version with its row sets, and where its chunks start."""

    text: str
    row_sets: tuple[RowSet, ...]
    chunk_starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """The last attempt on a source, where it failed; an older version may be live all the same."""

    document_id: str
    source: str
    sha256: str
    stage: str
    reason: str
    groups: tuple[str, ...]
    """Who sees the document, and that it failed."""
    attempted: tuple[str, ...] = ()
    """The groups that it was to have: what trying again has to give it."""


def visible(groups: Sequence[str], access: Access) -> bool:
    """Whether a document of these groups is visible to `access`."""
    return access.everything or not groups or not set(groups).isdisjoint(access.groups)


def pack_text(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def pack_rows(rows: RowSet) -> bytes:
    """Distances between the starts of rows: small numbers, which compress well."""
    return zlib.compress(array("I", [after - before for before, after in pairwise((rows.start, *rows.rows))]).tobytes(), 1)


def unpack_rows(start: int, packed: bytes) -> tuple[int, ...]:
    steps = array("I")
    steps.frombytes(zlib.decompress(packed))
    return tuple(accumulate(steps, initial=start))[1:]


def pack_names(names: Iterable[str]) -> str:
    return json.dumps(sorted(set(names)))


def unpack_names(packed: object) -> tuple[str, ...]:
    return tuple(json.loads(str(packed)))


def storable(text: str) -> str:
    """Text for a column: what no database takes (lone surrogates, NUL) is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def check_storable(uri: str) -> None:
    """DataError where no database takes the name."""
    if storable(uri) != uri:
        raise DataError(f"the name of {storable(uri)} is not valid Unicode: rename it")


def explain(name: str, detail: str) -> str:
    lower = detail.lower()
    if "locked" in lower:
        return f"the catalogue {name} is locked by another process: wait for it to finish, or stop it"
    if "full" in lower or "no space left" in lower:
        return f"the disk is full: the catalogue {name} could not be written; free some space and run again"
    if "malformed" in lower or "not a database" in lower:
        return f"the catalogue {name} is damaged ({one_line(detail)}): restore it from a backup, or remove it and ingest again"
    if "unable to open" in lower or "readonly" in lower:
        return f"the catalogue {name} cannot be opened for writing ({one_line(detail)}): check the folder and its permissions"
    return f"the catalogue {name} does not serve: {one_line(detail)}"


def one_line(detail: str) -> str:
    return " ".join(detail.split())[:300]
