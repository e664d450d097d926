"""Zip packages of office documents and e-books: parts, relationships and XML, read within limits."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from ckllm.contracts import Source
from ckllm.errors import DataError
from ingestion.parse.text import source_name

_MAX_PART = 256 * 1024 * 1024
_MAX_TOTAL = 1024 * 1024 * 1024
_MAX_RATIO = 300
_FREE = 8 * 1024 * 1024
_RELATIONSHIPS = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_STRICT = b"http://purl.oclc.org/ooxml/"
_USUAL = b"http://schemas.openxmlformats.org/"
_STRICT_NAMES = tuple(
    (_STRICT + name, _USUAL + folder + b"/2006/" + rest)
    for name, folder, rest in (
        (b"wordprocessingml/main", b"wordprocessingml", b"main"),
        (b"spreadsheetml/main", b"spreadsheetml", b"main"),
        (b"presentationml/main", b"presentationml", b"main"),
        (b"drawingml/", b"drawingml", b""),
        (b"officeDocument/math", b"officeDocument", b"math"),
        (b"officeDocument/relationships", b"officeDocument", b"relationships"),
    )
)
"""ISO/IEC 29500 Strict has names of its own for the same elements."""
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


@dataclass(frozen=True, slots=True)
class Relationship:
    """From a part to another; `kind` is the last part of its type, e.g. `footnotes`; external targets are never followed."""

    kind: str
    target: str
    external: bool


class Package:
    """An open package. Raises DataError for what is broken, encrypted or unpacks to too much."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self.name = source_name(source)
        try:
            self._zip = zipfile.ZipFile(source.path)
        except _BROKEN as error:
            raise DataError(f"broken container: {error}") from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        self._lower = {name.lower(): name for name in self._members}
        self._unpacked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    @property
    def parts(self) -> list[str]:
        return list(self._members)

    def __contains__(self, part: str) -> bool:
        return part.lstrip("/").lower() in self._lower

    def read(self, part: str) -> bytes:
        """A part's bytes. Raises DataError where it is missing, encrypted, broken, or a bomb."""
        info = self._members.get(self._lower.get(part.lstrip("/").lower(), ""))
        if info is None:
            raise DataError(f"broken container: it lacks {part}")
        if info.flag_bits & 0x1:
            raise DataError("encrypted with a password: save a copy without the password")
        self._unpacked += info.file_size
        if info.file_size > _MAX_PART or self._unpacked > _MAX_TOTAL:
            raise DataError(f"unpacks to too much: {part} has {info.file_size / 1e6:,.0f} MB")
        if info.file_size > _FREE and info.file_size > _MAX_RATIO * max(1, info.compress_size):
            raise DataError(f"zip bomb: {part} unpacks to {info.file_size // max(1, info.compress_size):,} times its size")
        try:
            with self._zip.open(info) as stream:
                return stream.read(info.file_size + 1)
        except (*_BROKEN, RuntimeError) as error:
            raise DataError(f"broken container: {part}: {error}") from error

    def xml(self, part: str) -> Any:
        """The root element of an XML part. Raises DataError where it is not XML."""
        return read_xml(self.read(part))

    def relationships(self, part: str) -> dict[str, Relationship]:
        """What a part refers to, by relationship id; targets are part names."""
        folder, _, file = part.lstrip("/").rpartition("/")
        rels = f"{folder}/_rels/{file}.rels" if folder else f"_rels/{file}.rels"
        if rels not in self:
            return {}
        found = {}
        for one in self.xml(rels).iter(f"{_RELATIONSHIPS}Relationship"):
            external = one.get("TargetMode") == "External"
            target = str(one.get("Target") or "")
            kind = str(one.get("Type") or "").rsplit("/", 1)[-1]
            found[str(one.get("Id"))] = Relationship(kind, target if external else resolve(folder, target), external)
        return found

    def related(self, part: str, kind: str) -> Iterator[str]:
        """Names of the existing parts of a kind that `part` refers to."""
        for relationship in self.relationships(part).values():
            if relationship.kind == kind and not relationship.external and relationship.target in self:
                yield relationship.target

    def usual(self, without: str = "") -> BytesIO:
        """The package as libraries expect it: with the usual names where it is Strict, and without the part `without`."""
        strict = "_rels/.rels" in self and _STRICT in self.read("_rels/.rels")
        if not strict and not without:
            return BytesIO(self._path.read_bytes())
        copy = BytesIO()
        with zipfile.ZipFile(copy, "w") as archive:
            for part in self._members:
                if part != without and not part.endswith("/"):
                    data = self.read(part)
                    archive.writestr(part, usual_names(data) if part.endswith((".xml", ".rels")) else data)
        return copy

    def title(self) -> str:
        """The title in the document's properties, "" where there is none, or only what programs put there."""
        if "docProps/core.xml" not in self:
            return ""
        try:
            root = self.xml("docProps/core.xml")
        except DataError:
            return ""
        title = " ".join(root.findtext("{http://purl.org/dc/elements/1.1/}title", "").split())
        return "" if is_junk_title(title) else title


def resolve(folder: str, target: str) -> str:
    """A relationship's target as part name; no name leaves the package."""
    target = unquote(target.split("#")[0])
    joined = target if target.startswith("/") else posixpath.join("/", folder, target)
    return posixpath.normpath(joined).lstrip("/")


def is_junk_title(title: str) -> bool:
    """What programs write when nobody gave a title."""
    lowered = title.lower()
    return (
        lowered.startswith(("microsoft word - ", "microsoft powerpoint - ", "untitled"))
        or lowered in ("powerpoint presentation", "presentation", "document", "word document", "slide 1", "title", "no title")
        or lowered.endswith((".doc", ".docx", ".indd", ".tex", ".dvi"))
    )


def usual_names(data: bytes) -> bytes:
    """XML of a Strict document with the names that all others have."""
    if _STRICT in data:
        for strict, usual in _STRICT_NAMES:
            data = data.replace(strict, usual)
    return data


def read_xml(data: bytes) -> Any:
    """Parse XML without entities, DTDs or network. Raises DataError where it is broken beyond repair or refers to entities."""
    from lxml import etree

    data = usual_names(data)

    def parser(recover: bool) -> Any:
        return etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=recover, remove_pis=True
        )

    try:
        return etree.fromstring(data, parser(False))
    except (etree.XMLSyntaxError, ValueError) as error:
        if "depth" in str(error) or "amplification" in str(error) or "entity reference loop" in str(error).lower():
            raise DataError(f"hostile XML: {error}") from error
        try:
            root = etree.fromstring(data, parser(True))
        except (etree.XMLSyntaxError, ValueError):
            root = None
        if root is None:
            raise DataError(f"broken XML: {error}") from error
        return root
