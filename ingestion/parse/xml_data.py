"""XML of any vocabulary: articles (JATS, DocBook, TEI, patents) by sections, titles and paragraphs, records by their fields.

Of entities the five of XML, HTML's, and declared ones that are plain words are expanded; no DTD is loaded, nothing outside the
file is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.html import add_html
from ingestion.parse.package import read_xml
from ingestion.parse.text import TextBuilder, one_line

_DECLARATION = re.compile(r"(?:^|\n)\s*<\?xml\s[^>]*\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]+)""")
_NAMED = re.compile(r"&([A-Za-z_][\w.-]{0,63});")
_ENTITY = re.compile(r"""<!ENTITY\s+([\w.:-]+)\s+(?:"([^"]*)"|'([^']*)')\s*>""")
_EXTERNAL = re.compile(r"<!ENTITY\s+(%\s+)?([\w.:-]+)\s+(?:SYSTEM|PUBLIC)\b([^>]*)>")
_MAX_ENTITY, _MAX_EXPANDED = 1000, 5_000_000
_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.S)
_TITLES = frozenset(["title", "article-title", "invention-title", "heading", "head", "subtitle", "trans-title", "chapter-title"])
_PARAGRAPHS = frozenset(
    [
        "p",
        "para",
        "simpara",
        "abstract",
        "li",
        "item",
        "list-item",
        "term",
        "def",
        "dd",
        "dt",
        "note",
        "caption",
        "blockquote",
        "quote",
        "verse",
        "l",
        "claim-text",
        "label",
        "mixed-citation",
        "citation",
        "copyright-statement",
    ]
)
_ROWS = frozenset({"tr", "row", "table-row"})
_CELLS = frozenset({"td", "th", "entry", "cell", "entrytbl", "table-cell"})
_SKIPPED = frozenset(["script", "style", "object-id", "mml:annotation", "annotation"])
_BREAKS = frozenset(["br", "break", "lb"])
_CODE = frozenset(["programlisting", "screen", "literallayout", "codeblock", "preformat", "pre"])
_TELLING = frozenset(["title", "name", "text", "label", "caption", "summary", "description", "alt"])
"""Attributes with words for readers, where the element itself has no text."""
_MAX_DEPTH = 200
_HTML = re.compile(r"<(?:p|div|span|table|h[1-6]|ul|ol|li|br|a|img|b|i|em|strong|font|pre|blockquote)\b[^<>]*>", re.I)
"""Pages as text of an element, as in feeds and business reports."""


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    data = source.path.read_bytes()
    builder = TextBuilder(media_type)
    roots = _roots(data)
    for root in roots:
        _Walk(builder).add(root, 1)
    root = roots[0]
    if builder.empty:
        _add_attributes(builder, root)
    return builder.build(_title(root), source, str(root.get("{http://www.w3.org/XML/1998/namespace}lang") or ""))


def _roots(data: bytes) -> list[Any]:
    """The root elements: one, or, where whole documents stand one behind the other, each of theirs."""
    encoding = _ENCODING.search(data[:300])
    text, _ = decode(data, encoding[1].decode("ascii") if encoding else "")
    return [_root(one) for one in _DECLARATION.split(text.replace("\x00", "")) if one.strip()] or [_root("")]


def _root(text: str) -> Any:
    """The root element. A document type is cut out before parsing; of what it declares, plain words alone are expanded."""
    for parameter, name, rest in _EXTERNAL.findall(text):
        if parameter or ("NDATA" not in rest and f"&{name};" in text):
            raise DataError("hostile XML: it refers to external entities, which are not read")
    declared = {name: one or other for name, one, other in _ENTITY.findall(text)}
    if len(declared) > 1 and any(re.search(r"&\w+;.*&\w+;", value, re.S) for value in declared.values()):
        raise DataError("hostile XML: it declares entities made of entities")
    return read_xml(_expanded(_DOCTYPE.sub("", text, count=1), declared).encode("utf-8", "replace"))


def _expanded(text: str, declared: dict[str, str]) -> str:
    """Named characters as HTML has them, which XML files use after a DTD that is not loaded, and declared words."""
    from html.entities import html5

    room = _MAX_EXPANDED

    def value(match: re.Match[str]) -> str:
        nonlocal room
        if match[1] in ("amp", "lt", "gt", "quot", "apos"):
            return match[0]
        own = declared.get(match[1], "")
        if own and len(own) <= min(_MAX_ENTITY, room) and not re.search(r"<|&(?!#?\w+;)|&(?!#|amp;|lt;|gt;|quot;|apos;)", own):
            room -= len(own)
            return own
        return html5.get(f"{match[1]};", f"[{match[1]}]")

    return _NAMED.sub(value, text)


def _local(element: Any) -> str:
    tag = element.tag
    return tag.rsplit("}", 1)[-1].lower() if isinstance(tag, str) else ""


def _text(element: Any) -> str:
    """All text below an element, children that are blocks set apart by spaces."""
    return one_line("".join(_pieces(element, 0)))


def _pieces(element: Any, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise RecursionError
    yield element.text or ""
    for child in element:
        if isinstance(child.tag, str) and _local(child) not in _SKIPPED:
            apart = _local(child) in _PARAGRAPHS | _CELLS | _TITLES | _BREAKS
            yield " " if apart else ""
            yield from _pieces(child, depth + 1)
            yield " " if apart else ""
        yield child.tail or ""


def _told(element: Any) -> list[str]:
    """What an element's attributes say to a reader, as fields."""
    namespace = element.tag.rpartition("}")[0]
    found = []
    for key, value in element.attrib.items():
        place, _, name = key.rpartition("}")
        if name.lower() in _TELLING and place in ("", namespace) and any(character.isalpha() for character in value):
            found.append(f"{name.lower()}: {one_line(value)}")
    return found


def _is_leaf(element: Any) -> bool:
    return not any(isinstance(child.tag, str) for child in element)


def _has_own_text(element: Any) -> bool:
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)


class _Walk:
    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder

    def add(self, element: Any, depth: int) -> None:
        """Append what is below `element`: runs of fields as one piece, paragraphs and sections one by one."""
        if depth > _MAX_DEPTH:
            raise RecursionError
        fields: list[str] = []
        for child in element:
            name = _local(child)
            if not name or name in _SKIPPED:
                continue
            if _is_leaf(child) and _HTML.search(child.text or ""):
                self._flush(fields)
                add_html(self._builder, child.text)
            elif name in _CODE and "\n" in (code := "".join(child.itertext()).strip("\n")):
                self._flush(fields)
                self._builder.append(ElementKind.CODE, code)
            elif _is_field(child, name):
                value = _text(child)
                fields.extend([f"{name}: {value}"] if value else _told(child))
            else:
                fields.extend([] if _has_own_text(child) else _told(child))
                self._flush(fields)
                self._block(child, name, depth)
        self._flush(fields)

    def _block(self, element: Any, name: str, depth: int) -> None:
        rows = [one for one in element.iter() if _local(one) in _ROWS] if name in ("table", "tgroup", "tbody") else []
        if name in _TITLES:
            level = 1 if name in ("article-title", "invention-title") else min(max(1, depth - 1), 6)
            self._builder.append(ElementKind.HEADING, _text(element), level)
        elif rows:
            for caption in element.iterchildren():
                if _local(caption) in ("title", "caption"):
                    self._builder.append(ElementKind.CAPTION, _text(caption))
            self._builder.table([[_text(cell) for cell in row if _local(cell) in _CELLS] for row in rows])
        elif (name in _PARAGRAPHS and not _holds_blocks(element)) or _has_own_text(element):
            in_list = name in ("li", "item", "list-item", "dd", "dt")
            self._builder.append(ElementKind.LIST_ITEM if in_list else ElementKind.PARAGRAPH, _text(element))
        else:
            self.add(element, depth + 1)

    def _flush(self, fields: list[str]) -> None:
        self._builder.append(ElementKind.PARAGRAPH, "\n".join(fields))
        fields.clear()


def _holds_blocks(element: Any) -> bool:
    return not _has_own_text(element) and any(_local(child) in _PARAGRAPHS or _local(child) in _TITLES for child in element)


def _is_field(element: Any, name: str) -> bool:
    """A short leaf of a record, not a title or paragraph."""
    return _is_leaf(element) and name not in _TITLES and name not in _PARAGRAPHS and len(element.text or "") < 400


def _title(root: Any) -> str:
    for element in root.iter():
        if _local(element) in ("article-title", "invention-title", "title"):
            return _text(element)
    return ""


def _add_attributes(builder: TextBuilder, root: Any) -> None:
    """A document that says everything in attributes."""
    for element in root.iter():
        if isinstance(element.tag, str) and element.attrib:
            pairs = ", ".join(f"{key.rsplit('}', 1)[-1]}: {one_line(str(value))}" for key, value in element.attrib.items())
            builder.append(ElementKind.LIST_ITEM, f"{_local(element)}: {pairs}")
