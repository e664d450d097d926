"""Archives as folders: zip, tar (also compressed), single compressed files and mailboxes (mbox), within limits.

Members are written one by one under names of our own making, so that no member's name decides where bytes go.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

from ckllm.contracts import Rejected, Source
from ckllm.errors import DataError, is_disk_full
from ingestion.nesting import depth
from ingestion.parse.decode import decode
from ingestion.parse.text import clean, source_name

ARCHIVE_TYPES = frozenset(
    [
        "application/zip",
        "application/x-tar",
        "application/gzip",
        "application/x-bzip2",
        "application/x-xz",
        "application/mbox",
    ]
)
"""The media types of `detect` that `members` opens; everything else goes to a parser."""

_PIECE = 1 << 20
_ENVELOPE = re.compile(rb"From \S+.*\d:\d\d.*\b\d{4}\b")
_QUOTED_FROM = re.compile(rb">+From ")
_IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_COMPRESSED: tuple[tuple[bytes, Callable[..., Any], str], ...] = (
    (b"\x1f\x8b", gzip.open, ".gz"), (b"BZh", bz2.open, ".bz2"), (b"\xfd7zXZ", lzma.open, ".xz"),
)  # fmt: skip
_LONGEST_HEADER = 1 << 20
"""Bytes of a tar member's name and other notes, which are held in memory."""
_BROKEN = (
    struct.error,
    LookupError,
    OverflowError,
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What one archive may hold, unpacked."""

    members: int = 10_000
    total_bytes: int = 2_000_000_000
    member_bytes: int = 200_000_000
    ratio: float = 200.0
    """Unpacked to packed bytes, over the whole archive, once `free_bytes` are unpacked."""
    free_bytes: int = 20_000_000
    depth: int = 2
    """How many archives deep: 2 opens an archive in an archive."""


def members(source: Source, folder: Path, limits: ArchiveLimits | None = None) -> tuple[list[Source], list[Rejected]]:
    """Unpack `source` into `folder` and return its files, each with the URI `SOURCE!/MEMBER`, and what was refused.

    Archives inside are members like others: the caller detects each and calls again; past the depth they are refused.
    Raises DataError where the archive as a whole cannot be used: broken, encrypted with a password, a bomb. A full disk is an
    OSError.
    """
    limits = limits or ArchiveLimits()
    if depth(source.uri) >= limits.depth:
        raise DataError(f"archive nested more than {limits.depth} deep")
    folder = folder / hashlib.blake2b(source.uri.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    unpacking = _Unpacking(source, folder, limits)
    try:
        with source.path.open("rb") as stream:
            for entry in _entries(stream, source, unpacking.check):
                unpacking.take(entry)
    except _BROKEN as error:
        if is_disk_full(error):
            raise
        if isinstance(error, RuntimeError) and "password" in str(error):
            raise DataError("archive encrypted with a password: unpack it first") from error
        if not unpacking.found:
            raise DataError(f"broken archive: {str(error) or type(error).__name__}") from error
        unpacking.refused.append(Rejected(source.uri, "detect", f"broken archive, the rest is lost: {error}"))
    if unpacking.encrypted and not unpacking.found:
        raise DataError("archive encrypted with a password: unpack it first")
    if not unpacking.found and not unpacking.refused:
        raise DataError("empty archive: leave it out")
    return unpacking.found, unpacking.refused


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    stream: IO[bytes] | None
    """None: refused for `reason`."""
    modified: float | None = None
    reason: str = ""


def _entries(stream: IO[bytes], source: Source, check: Callable[[int], None]) -> Iterator[_Entry]:
    """`check` is told how many bytes were unpacked where that is more than what the entries give."""
    if zipfile.is_zipfile(source.path):
        with zipfile.ZipFile(stream) as archive:
            yield from _zip_entries(archive)
        return
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(b"From "):
        yield from _messages(stream)
        return
    opener, suffix = next(((opener, suffix) for magic, opener, suffix in _COMPRESSED if head.startswith(magic)), (None, ""))
    unpacked = opener(stream) if opener else stream
    counted: Any = _Counted(unpacked, check)  # has what tarfile asks of a stream that it reads
    try:
        tar = tarfile.open(fileobj=counted, mode="r|", bufsize=_PIECE, tarinfo=_TarMember)  # noqa: SIM115
    except tarfile.ReadError:
        if not opener:
            raise
    else:
        with tar:
            if tar.next() is not None:  # zeros alone pass for a tar without members
                yield from _tar_entries(tar)
                return
    if opener:
        stream.seek(0)
        with opener(stream) as member:
            yield _Entry(source_name(source).removesuffix(suffix).removesuffix(suffix.upper()), member)


class _Counted:
    """A stream whose bytes are counted as they are read: tarfile also unpacks what is no file, and gives nobody."""

    def __init__(self, stream: IO[bytes], check: Callable[[int], None]) -> None:
        self._stream, self._check = stream, check
        self._bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._bytes += len(data)
        self._check(self._bytes)
        return data


class _TarMember(tarfile.TarInfo):
    """Damage in the middle is an error, where tarfile takes it for the end, and so are headers as long as files."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if archive.offset and not isinstance(error, _ENDS):
                raise tarfile.ReadError(str(error)) from None
            raise

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        if self.size > _LONGEST_HEADER and self.type in _NOTES:
            raise tarfile.ReadError("a member's header is too long")
        member: Self = super()._proc_member(archive)  # type: ignore[misc]
        return member


_ENDS = (tarfile.EOFHeaderError, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]
_NOTES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = info.filename
        if not info.flag_bits & 0x800:  # not UTF-8: zipfile read it as cp437
            name = decode(name.encode("cp437", "replace"))[0]
        if info.flag_bits & 0x1:
            yield _Entry(name, None, reason="encrypted with a password")
        elif (info.external_attr >> 16) & 0o170000 == 0o120000:
            yield _Entry(name, None, reason="a link, not a file")
        else:
            with archive.open(info) as member:
                yield _Entry(name, member)


def _messages(mailbox: IO[bytes]) -> Iterator[_Entry]:
    """Of a mailbox each message: it begins with a line "From SENDER DATE" behind an empty one (RFC 4155)."""
    number, blank = 0, True
    lines: list[bytes] = []
    for line in mailbox:
        if blank and _ENVELOPE.match(line):
            if number:
                yield _Entry(f"{number:05d}.eml", io.BytesIO(b"".join(lines)))
            number, lines = number + 1, []
        else:
            lines.append(line[1:] if _QUOTED_FROM.match(line) else line)
        blank = not line.strip()
    yield _Entry(f"{number:05d}.eml", io.BytesIO(b"".join(lines)))


def _tar_entries(tar: tarfile.TarFile) -> Iterator[_Entry]:
    for info in tar:
        if info.isdir():
            continue
        if not info.isreg():
            yield _Entry(info.name, None, reason="a link or device, not a file")
        else:
            yield _Entry(info.name, tar.extractfile(info), float(info.mtime))


class _Unpacking:
    """Counts what is unpacked and stops at the limits."""

    def __init__(self, source: Source, folder: Path, limits: ArchiveLimits) -> None:
        self.found: list[Source] = []
        self.refused: list[Rejected] = []
        self.encrypted = 0
        self._source, self._folder, self._limits = source, folder, limits
        self._seen: set[str] = set()
        self._times: Counter[str] = Counter()
        """How often a name came again."""
        self._entries = 0
        self._bytes = 0

    def take(self, entry: _Entry) -> None:
        """Write one member. Raises DataError where the archive as a whole passes a limit."""
        self._entries += 1
        if self._entries > self._limits.members:
            raise DataError(f"archive with more than {self._limits.members:,} members")
        name = safe_name(entry.name)
        if name.startswith(_IGNORED) or name.endswith(_IGNORED[1:]):
            return
        uri = f"{self._source.uri}!/{self._unique(name)}"
        if entry.stream is None:
            self.encrypted += "password" in entry.reason
            self.refused.append(Rejected(uri, "detect", entry.reason))
            return
        path = self._folder / f"{self._entries:05d}{Path(name).suffix[:16] if Path(name).suffix.isascii() else ''}"
        size, sha256 = self._write(entry.stream, path)
        if size > self._limits.member_bytes:
            path.unlink()
            self.refused.append(
                Rejected(uri, "detect", f"too large: more than {self._limits.member_bytes / 1e6:,.0f} MB unpacked")
            )
            return
        self.found.append(replace(Source(uri, path, size, sha256), modified=entry.modified))

    def _unique(self, name: str) -> str:
        candidate = name
        while candidate in self._seen:
            self._times[name] += 1
            candidate = f"{name}#{self._times[name] + 1}"
        self._seen.add(candidate)
        return candidate

    def _write(self, stream: IO[bytes], path: Path) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            while piece := stream.read(_PIECE):
                size += len(piece)
                self._bytes += len(piece)
                self.check(self._bytes)
                if size > self._limits.member_bytes:
                    break
                digest.update(piece)
                file.write(piece)
        return size, digest.hexdigest()

    def check(self, unpacked: int) -> None:
        """Raises DataError where the archive unpacks to so many bytes that it is a bomb."""
        if unpacked > self._limits.total_bytes:
            raise DataError(f"archive bomb: it unpacks to more than {self._limits.total_bytes / 1e6:,.0f} MB")
        if unpacked > self._limits.free_bytes and unpacked > self._limits.ratio * max(1, self._source.size):
            raise DataError(f"archive bomb: it unpacks to more than {self._limits.ratio:g} times its size")


def safe_name(name: str) -> str:
    """A member's name without drive, root, `..`, controls; only ever used in URIs, never as a path."""
    parts = [part.strip() for part in unicodedata.normalize("NFC", clean(name)).replace("\\", "/").split("/")]
    kept = [part.replace("!", "_") if part.endswith("!") else part for part in parts if part not in ("", ".", "..")]
    return "/".join(" ".join(part.split()) for part in kept)[-400:] or "unnamed"
