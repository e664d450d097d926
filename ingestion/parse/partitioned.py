"""RTF, reStructuredText and Org through unstructured's partitioners (which convert with the pandoc that pypandoc bundles)."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.html_tables import table_rows
from ingestion.parse.html_visibility import Visibility
from ingestion.parse.offline import use_offline
from ingestion.parse.rtf_characters import with_escapes
from ingestion.parse.text import TextBuilder

_PARTITIONERS = {"application/rtf": "rtf", "text/x-rst": "rst", "text/x-org": "org"}
_KINDS = {
    "Title": ElementKind.HEADING,
    "ListItem": ElementKind.LIST_ITEM,
    "CodeSnippet": ElementKind.CODE,
    "FigureCaption": ElementKind.CAPTION,
    "Header": ElementKind.NOTE,
    "Footer": ElementKind.NOTE,
    "Footnote": ElementKind.NOTE,
}


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder(media_type)
    for element in _partition(source, _PARTITIONERS[media_type]):
        html = getattr(element.metadata, "text_as_html", None)
        if element.category == "Table" and html:
            builder.table(*_rows(html))
        else:
            kind = _KINDS.get(element.category, ElementKind.PARAGRAPH)
            level = (element.metadata.category_depth or 0) + 1 if kind is ElementKind.HEADING else 0
            builder.append(kind, element.text.replace("↩︎", ""), level)
    return builder.build("", source)


def _partition(source: Source, suffix: str) -> list[Any]:
    """unstructured's elements. The file is handed over under its true suffix, and as UTF-8 where it is plain text."""
    use_offline()
    partition = getattr(import_module(f"unstructured.partition.{suffix}"), f"partition_{suffix}")
    private: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="ckllm-parse-") as folder:
        path = Path(folder) / f"document.{suffix}"
        if suffix == "rtf":
            data, private = with_escapes(source.path.read_bytes())
            path.write_bytes(data)
        else:
            path.write_text(decode(source.path.read_bytes())[0], encoding="utf-8", errors="replace")
        try:
            elements = list(partition(filename=str(path), detect_language_per_element=False, languages=[""]))
        except RuntimeError as error:
            raise DataError(f"pandoc cannot read it: {' '.join(str(error).split())[:200]}") from error
    for element in elements:
        element.text = element.text.translate(private)
        if html := getattr(element.metadata, "text_as_html", None):
            element.metadata.text_as_html = html.translate(private)
    return elements


def _rows(html: str) -> tuple[list[list[str]], int]:
    from lxml import html as parser

    root = parser.document_fromstring(html)
    table = root.find(".//table")
    return table_rows(table, Visibility(root)) if table is not None else ([], 1)
