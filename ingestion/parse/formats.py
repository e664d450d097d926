"""The table of parsers: which module reads which media type. A module is imported when its first document comes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

from ckllm.contracts import Document, Source
from ckllm.errors import DataError


class Parser(Protocol):
    """One format family. `folder` is where bytes of attachments go. Raises DataError for what cannot be read."""

    def parse(self, source: Source, media_type: str, folder: Path, /) -> Document: ...


_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPENDOCUMENT = "application/vnd.oasis.opendocument."

PARSERS = {
    "application/pdf": "pdf",
    _OFFICE + "wordprocessingml.document": "docx",
    _OFFICE + "presentationml.presentation": "pptx",
    _OFFICE + "spreadsheetml.sheet": "xlsx",
    _OPENDOCUMENT + "text": "opendocument",
    _OPENDOCUMENT + "presentation": "opendocument",
    _OPENDOCUMENT + "spreadsheet": "opendocument",
    _OPENDOCUMENT + "graphics": "opendocument",
    "application/epub+zip": "epub",
    "application/rtf": "partitioned",
    "text/x-rst": "partitioned",
    "text/x-org": "partitioned",
    "application/msword": "doc",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-outlook": "msg",
    "message/rfc822": "mail",
    "text/html": "html",
    "text/markdown": "markdown",
    "text/asciidoc": "asciidoc",
    "text/plain": "plain",
    "text/csv": "delimited",
    "text/tab-separated-values": "delimited",
    "text/vtt": "subtitles",
    "application/x-subrip": "subtitles",
    "application/json": "json_data",
    "application/jsonl": "json_data",
    "application/x-ipynb+json": "notebook",
    "application/xml": "xml_data",
}


def parse(source: Source, media_type: str, folder: Path) -> Document:
    """Read `source` as `media_type` (of `detect`). Raises DataError with one line that says why it cannot be read."""
    module = PARSERS.get(media_type)
    if module is None and media_type.startswith("text/x-"):
        module = "code"
    if module is None and media_type.startswith("image/"):
        module = "image"
    if module is None:
        raise DataError(f"no parser for {media_type}")
    parser: Parser = import_module(f"ingestion.parse.{module}")
    return parser.parse(source, media_type, folder)
