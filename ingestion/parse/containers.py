"""What is inside a zip or OLE container, told from its directory without unpacking anything."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ckllm.errors import DataError

_MAX_DIRECTORY = 64 * 1024 * 1024
_MAX_MEMBERS = 100_000
_ENCRYPTED = "encrypted with a password: save a copy without the password"
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_SHEETS = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_OPENDOCUMENT = "application/vnd.oasis.opendocument."


def zip_type(path: Path) -> str:
    """Media type of a zip file: an office document, an EPUB, or `application/zip`. Raises DataError where it is broken."""
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _of_members(archive)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, RuntimeError, EOFError) as error:
        raise DataError(f"broken zip container: {error}") from error


def _of_members(archive: zipfile.ZipFile) -> str:
    members = {info.filename: info for info in archive.infolist()}
    if "mimetype" in members and members["mimetype"].file_size < 200:
        declared = archive.read("mimetype").decode("ascii", "replace").strip()
        if declared == "application/epub+zip" or declared.startswith(_OPENDOCUMENT):
            return declared.removesuffix("-template")
    if "META-INF/container.xml" in members and any(member.endswith(".opf") for member in members):
        return "application/epub+zip"
    if "[Content_Types].xml" in members:
        folders = {member.split("/", 1)[0].lower() for member in members}
        for folder, media_type in (("word", _WORD), ("ppt", _SLIDES), ("xl", _SHEETS)):
            if folder in folders:
                if "xl/workbook.bin" in members:
                    raise DataError("a binary Excel workbook (xlsb), which is not supported: save it as xlsx")
                return media_type
    return "application/zip"


def _check_directory(path: Path) -> None:
    """Refuse a zip whose directory alone would fill the memory, before `zipfile` reads it."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 65_557))
        tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise DataError("broken zip container: it has no directory (cut off?): copy the file again")
    members = int.from_bytes(tail[end + 10 : end + 12], "little")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    if (directory != 0xFFFFFFFF and directory > _MAX_DIRECTORY) or (members != 0xFFFF and members > _MAX_MEMBERS):
        raise DataError("zip container with too many members")


def ole_type(path: Path) -> str:
    """Media type of an OLE compound file: legacy Word, PowerPoint, Excel or an Outlook message."""
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            streams = {"/".join(parts).lower() for parts in container.listdir(streams=True, storages=False)}
    except (OSError, ValueError, IndexError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"broken OLE container: {str(error) or type(error).__name__}") from error
    if "encryptedpackage" in streams:
        raise DataError(_ENCRYPTED)
    for stream, media_type in (
        ("worddocument", "application/msword"),
        ("powerpoint document", "application/vnd.ms-powerpoint"),
        ("workbook", "application/vnd.ms-excel"),
        ("book", "application/vnd.ms-excel"),
        ("__properties_version1.0", "application/vnd.ms-outlook"),
    ):
        if stream in streams:
            return media_type
    raise DataError("an OLE container of an unknown application, not a document that can be read")
