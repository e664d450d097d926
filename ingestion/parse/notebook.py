"""Jupyter notebooks: Markdown cells as Markdown, code as code, outputs as far as they are text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.html import add_html
from ingestion.parse.text import TextBuilder

_MAX_OUTPUT = 4000
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HEADING = re.compile(r"^(#{1,6})\s+(.+)$")


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    try:
        notebook = json.loads(decode(source.path.read_bytes())[0])
        cells = notebook.get("cells") or [cell for sheet in notebook.get("worksheets", []) for cell in sheet.get("cells", [])]
        title = notebook.get("metadata", {}).get("title", "")
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"broken notebook: {error}") from error
    builder = TextBuilder(media_type)
    for cell in cells:
        if isinstance(cell, dict):
            _add_cell(builder, cell)
    return builder.build(str(title or ""), source)


def _add_cell(builder: TextBuilder, cell: dict[str, Any]) -> None:
    text = _joined(cell.get("source", cell.get("input", "")))
    if cell.get("cell_type") == "code":
        builder.append(ElementKind.CODE, text)
        for output in cell.get("outputs") or []:
            if isinstance(output, dict):
                _add_output(builder, output)
    elif cell.get("cell_type") == "heading":
        builder.append(ElementKind.HEADING, text, int(cell.get("level", 1)))
    else:
        _add_markdown(builder, text)


def _add_markdown(builder: TextBuilder, text: str) -> None:
    text = re.sub(r"!\[([^\]]*)\]\((?:data:|attachment:)[^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n|(?<=\n)(?=#{1,6}\s)", text):
        first, _, rest = paragraph.strip().partition("\n")
        if found := _HEADING.match(first):
            builder.append(ElementKind.HEADING, found[2], len(found[1]))
            paragraph = rest
        builder.append(ElementKind.PARAGRAPH, paragraph)


def _add_output(builder: TextBuilder, output: dict[str, Any]) -> None:
    """Of its forms the plain text, else Markdown or a page."""
    data = output.get("data") or {}
    forms = {name: _joined(form) for name, form in data.items()} if isinstance(data, dict) else {}
    text = _joined(output.get("text") or forms.get("text/plain") or output.get("traceback") or "")
    if text.strip():
        builder.append(ElementKind.CODE, _ANSI.sub("", text)[:_MAX_OUTPUT])
    elif forms.get("text/markdown"):
        _add_markdown(builder, forms["text/markdown"])
    elif forms.get("text/html"):
        add_html(builder, forms["text/html"])


def _joined(lines: Any) -> str:
    return "".join(str(line) for line in lines) if isinstance(lines, list) else str(lines or "")
