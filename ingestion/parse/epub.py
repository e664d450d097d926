"""EPUB: the chapters of the reading order, each read as HTML; a chapter counts as a page of the book."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ckllm.contracts import Document, Source
from ckllm.errors import DataError
from ingestion.parse.html import add_html, read_html
from ingestion.parse.package import Package
from ingestion.parse.text import TextBuilder

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF = "{http://www.idpf.org/2007/opf}"
_ENCRYPTION = "{http://www.w3.org/2001/04/xmlenc#}"
_DC = "{http://purl.org/dc/elements/1.1/}"


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder(media_type)
    with Package(source) as package:
        opf = _package_document(package)
        root = package.xml(opf)
        chapters = _chapters(package, root, posixpath.dirname(opf))
        if not _encrypted(package).isdisjoint(chapters):
            raise DataError("encrypted: it is protected (DRM), which takes a password or licence to open")
        for part in chapters:
            add_html(builder, read_html(package.read(part)))
    return builder.build(str(root.findtext(f".//{_DC}title") or ""), source, str(root.findtext(f".//{_DC}language") or ""))


def _package_document(package: Package) -> str:
    if "META-INF/container.xml" in package:
        for one in package.xml("META-INF/container.xml").iter(f"{_CONTAINER}rootfile"):
            if (path := str(one.get("full-path") or "")) in package:
                return path
    found = next((part for part in package.parts if part.endswith(".opf")), None)
    if found is None:
        raise DataError("broken EPUB: it has no package document")
    return found


def _encrypted(package: Package) -> set[str]:
    """Parts that are encrypted; fonts often are, and do not matter."""
    if "META-INF/encryption.xml" not in package:
        return set()
    found = package.xml("META-INF/encryption.xml").iter(f"{_ENCRYPTION}CipherReference")
    return {unquote(str(one.get("URI") or "")).lstrip("/") for one in found}


def _chapters(package: Package, root: Any, folder: str) -> list[str]:
    """Parts in reading order (of a book that gives none, in the order of its list of parts), without the table of contents."""
    items = {str(item.get("id")): item for item in root.iter(f"{_OPF}item")}
    in_order = [str(reference.get("idref")) for reference in root.iter(f"{_OPF}itemref")]
    found = []
    for item in [items[one] for one in in_order or items if one in items]:
        if "nav" in str(item.get("properties") or "").split() and len(items) > 2:
            continue
        part = posixpath.normpath(posixpath.join(folder, unquote(str(item.get("href") or ""))))
        if part in package and "html" in str(item.get("media-type") or "html"):
            found.append(part)
    return found
