"""What a source is, by its content.

Magic bytes, members of zip containers, streams of OLE containers, XML roots and the first lines decide; the file's extension
and the claimed type only tell text formats apart that look alike (`.md` from `.txt`, `.csv` from `.log`).
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from ckllm.contracts import Source
from ckllm.errors import DataError
from ingestion.parse.containers import ole_type, zip_type
from ingestion.parse.decode import decode
from ingestion.parse.text import DATA_URI, source_name
from ingestion.parse.text_types import CODE_SUFFIXES, SUFFIXES, TYPES_WITH_BLOBS, text_type

HEAD = 64 * 1024
MAX_RUN = 1024 * 1024
_BLOCK = MAX_RUN // 2
_MAX_ZEROS = 0.02
"""Share of zero bytes that a text may have, as logs do after a crash."""

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"), (b"MM\x00*", "image/tiff"), (b"BM", "image/bmp"),
)  # fmt: skip
_COMPRESSED = (
    (b"\x1f\x8b\x08", "application/gzip"), (b"BZh", "application/x-bzip2"), (b"\xfd7zXZ\x00", "application/x-xz"),
)  # fmt: skip
_REFUSED = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, which is not supported: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive, which is not supported: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive, which is not supported: unpack it first"),
    (b"\x7fELF", "a program, not a document: leave it out"),
    (b"MZ\x90", "a program, not a document: leave it out"),
    (b"PAR1", "a Parquet table, which is not supported: export it as CSV"),
    (b"\x78\x9f\x3e\x22", "an Outlook winmail.dat, which is not supported: ask the sender for the mail in HTML or plain text"),
    (b"SQLite format 3\x00", "a database, not a document: export its tables as CSV"),
)
_WHITE = re.compile(rb"[\s]")


def detect(source: Source, max_bytes: int) -> str:
    """The media type of what lies in `source.path`.

    Raises DataError, one line with the reason, for what cannot be a document: no regular file, empty, larger than `max_bytes`,
    binary data of no known format, an encrypted office file, text with more than 1 MB without white space.
    """
    path = source.path
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a regular file")
        if status.st_size == 0:
            raise DataError("empty file: it has no bytes")
        if status.st_size > max_bytes:
            raise DataError(
                f"too large: it has {status.st_size / 1e6:,.0f} MB, the limit is {max_bytes / 1e6:,.0f} MB (ingest.max_file_mb)"
            )
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
    try:
        return _binary_type(path, head) or _text_type(source, head)
    except DataError:
        raise
    except Exception as error:  # libraries that look into containers raise anything, and it may cost this file only
        raise DataError(
            f"broken container: {type(error).__name__}: {' '.join(str(error).split())}: copy the file again"
        ) from error


def _binary_type(path: Path, head: bytes) -> str:
    """Media type by magic bytes, "" for what may be text."""
    if _is_pdf(head):
        return "application/pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_type(path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return ole_type(path)
    if head.lstrip()[:5] == b"{\\rtf":
        return "application/rtf"
    for magic, media_type in (*_COMPRESSED, *_IMAGES):
        if head.startswith(magic) and (magic != b"BM" or b"\x00" in head[:32]):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[257:262] == b"ustar":
        return "application/x-tar"
    for magic, reason in _REFUSED:
        if head.startswith(magic):
            raise DataError(reason)
    return ""


def _is_pdf(head: bytes) -> bool:
    """The mark stands at the start, or, behind something else, within the first 1,024 bytes; a text may merely mention it."""
    at = head[:1024].find(b"%PDF-")
    return at >= 0 and (not head[:at].strip() or bool(re.search(rb"\d+\s+\d+\s+obj\b", head)))


def _text_type(source: Source, head: bytes) -> str:
    text, encoding = decode(head)
    if not _is_text(text, head, encoding):
        raise DataError(f"binary data: it is {_known_binary(head)}")
    name = source_name(source)
    suffix = Path(name).suffix.lower()
    media_type = text_type(text, suffix, source.media_type.partition(";")[0].strip().lower(), name)
    if media_type not in TYPES_WITH_BLOBS:
        _refuse_long_runs(source.path, encoding)
    return media_type


def _is_text(text: str, head: bytes, encoding: str) -> bool:
    if encoding in ("utf-8", "utf-8-sig") and b"\x00" not in head:
        odd = sum(count for control, count in _controls(text) if control not in "\t\n\r\f\x0b\x1b\x08")
        return odd <= 0.02 * len(text)
    if b"\x00" in head and not encoding.startswith(("utf-16", "utf-32")):
        if encoding not in ("utf-8", "utf-8-sig") or head.count(b"\x00") > _MAX_ZEROS * len(head):
            return False
        text = text.replace("\x00", "")
    odd = sum(count for control, count in _controls(text) if control not in "\t\n\r\f\x1b") + text.count("\ufffd")
    return odd <= 0.01 * len(text) and _like_language(text)


def _controls(text: str) -> list[tuple[str, int]]:
    return [(chr(code), text.count(chr(code))) for code in (*range(32), *range(0x7F, 0xA0))]


def _like_language(text: str) -> bool:
    """Decoded bytes that are mostly letters, digits, white space and punctuation, not symbols at random."""
    ordinary = sum(character.isalnum() or character.isspace() or "!" <= character <= "\x7e" for character in text)
    return ordinary >= 0.75 * len(text)


def _known_binary(head: bytes) -> str:
    import puremagic

    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        found = []
    names = [match.name for match in found if match.name and match.confidence >= 0.5]
    return (
        f"{names[0]}, not a document that can be read: leave it out, or convert it"
        if names
        else "not a document of any known format: leave it out"
    )


def _refuse_long_runs(path: Path, encoding: str) -> None:
    """Raise DataError for a run of more than 1 MB without white space.

    A run of that length holds a whole aligned block of half of it; so only a block without white space is looked at closely.
    """
    if path.stat().st_size <= MAX_RUN:
        return
    width = {"utf-32": 4, "utf-16": 2}.get(encoding[:6], 1)
    with path.open("rb") as stream:
        if width == 1:
            suspicious = any(not _WHITE.search(block) for block in iter(lambda: stream.read(_BLOCK), b"") if len(block) == _BLOCK)
        else:
            suspicious = True
    if suspicious:
        text = DATA_URI.sub("", decode(path.read_bytes())[0])  # parsers leave them out
        longest = max((len(match[0]) for match in re.finditer(r"\S+", text)), default=0)
        if longest > MAX_RUN or (text.isascii() is False and _bytes_in_longest(text) > MAX_RUN):
            raise DataError(f"not prose: it has {longest:,} characters in a row without white space, the limit is {MAX_RUN:,}")


def _bytes_in_longest(text: str) -> int:
    return max((len(match[0].encode("utf-8", "replace")) for match in re.finditer(r"\S+", text)), default=0)


__all__ = ["CODE_SUFFIXES", "SUFFIXES", "detect"]
