"""HTML: what a reader of the page sees of its content, in blocks; no navigation, scripts, styles or hidden text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.html_tables import cell_text, is_layout, table_rows
from ingestion.parse.html_visibility import Visibility
from ingestion.parse.text import TextBuilder

_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.I)
_XML_ENCODING = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9_.:-]+)""", re.I)
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_WHITE = re.compile(r"[ \t\n\r\f\v]+")
_BLOCKS = frozenset(
    [
        "p",
        "div",
        "section",
        "article",
        "header",
        "footer",
        "aside",
        "main",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "tbody",
        "thead",
        "tfoot",
        "tr",
        "td",
        "th",
        "caption",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "pre",
        "figure",
        "figcaption",
        "address",
        "form",
        "fieldset",
        "legend",
        "hr",
        "details",
        "summary",
        "body",
        "center",
        "menu",
        "dir",
    ]
)
_KINDS = {"pre": ElementKind.CODE, "li": ElementKind.LIST_ITEM, "dt": ElementKind.LIST_ITEM, "dd": ElementKind.LIST_ITEM,
          "figcaption": ElementKind.CAPTION, "caption": ElementKind.CAPTION}  # fmt: skip
_LISTS = frozenset({"ol", "ul", "menu", "dir"})
_MIN_ALT_WORDS = 3
_MIN_WORDS = 50


@dataclass(slots=True)
class HtmlFacts:
    """What the page says of itself."""

    title: str = ""
    lang: str = ""


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder(media_type)
    facts = add_html(builder, read_html(source.path.read_bytes()))
    return builder.build(facts.title, source, facts.lang)


def read_html(data: bytes) -> str:
    """Decode a page: byte-order mark, then what it declares, then its bytes."""
    declared = _META_CHARSET.search(data[:4096]) or _XML_ENCODING.search(data[:200])
    return decode(data, declared[1].decode("ascii") if declared else "")[0]


def add_html(builder: TextBuilder, text: str) -> HtmlFacts:
    """Append the page's content to the builder; navigation is kept only where there is hardly anything else."""
    root = _root(text)
    if root is None:
        return HtmlFacts()
    if root.find(".//frameset") is not None and (without := root.findtext(".//noframes")):
        return add_html(builder, without)  # a page of frames has no words but those
    facts = HtmlFacts(_title(root), str(root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or ""))
    content = _Walk(Visibility(root)).run(root)
    if content.words < _MIN_WORDS:
        everything = _Walk(Visibility(root, keep_navigation=True)).run(root)
        content = everything if content.words * 4 < everything.words else content
    for block in content.blocks:
        if block.rows:
            builder.table(block.rows, block.level)
        else:
            builder.append(block.kind, block.text, block.level)
    for warning in content.visibility.warnings:
        builder.warn(warning)
    return facts


def _root(text: str) -> Any:
    from lxml import etree, html

    text = _XML_DECLARATION.sub("", text.replace("\x00", ""))
    if not text.strip():
        return None
    parser = html.HTMLParser(encoding="utf-8", huge_tree=True, recover=True, no_network=True)
    try:
        return html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        if "empty" in str(error).lower():
            return None
        raise DataError(f"broken HTML: {error}") from error


def _title(root: Any) -> str:
    for path in ("//head/title", "//title[not(ancestor::svg)]"):
        for title in root.xpath(path):
            if title.text_content().strip():
                return str(title.text_content())
    return next((str(value) for value in root.xpath("//meta[@property='og:title']/@content")), "")


def _integer(value: str | None, default: int) -> int:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


@dataclass(frozen=True, slots=True)
class _Block:
    kind: ElementKind
    text: str
    level: int = 0
    """Of a heading; of a table the number of its header rows."""
    rows: list[list[str]] = field(default_factory=list)


@dataclass(slots=True)
class _Walk:
    """One pass over the tree in document order. Inline text collects until a block begins or ends."""

    visibility: Visibility
    blocks: list[_Block] = field(default_factory=list)
    words: int = 0
    _inline: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _numbers: list[int | None] = field(default_factory=list)
    """Of each open list its last number, None where it has none."""
    _number: str = ""

    def run(self, root: Any) -> _Walk:
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end", "comment"))
        skipped = None
        for event, element in walk:
            if event == "comment":
                self.visibility.comment(element)
                self._text(element.tail)
            elif event == "end":
                if element is not skipped:
                    self._end(element)
                skipped = None if element is skipped else skipped
                if element is not root:
                    self._text(element.tail)
            elif not isinstance(element.tag, str) or self._start(element):
                walk.skip_subtree()
                skipped = element
        self._flush()
        return self

    def _start(self, element: Any) -> bool:
        """Take the element's own text; True where nothing inside it is to be walked."""
        tag = element.tag
        if self.visibility.leaves_out(element):
            if tag in _BLOCKS:
                self._flush()
            return True
        if tag == "table" and not is_layout(element):
            self._flush()
            self._table(element)
            return True
        if tag in _BLOCKS:
            self._flush()
            self._open.append(tag)
            self._count(element, tag)
        elif tag == "br":
            self._inline.append("\n")
        elif tag == "img":
            alt = str(element.get("alt") or "")
            if len(alt.split()) >= _MIN_ALT_WORDS:
                self._inline.append(f" {alt} ")
        self._text(element.text)
        return False

    def _end(self, element: Any) -> None:
        if element.tag in _BLOCKS:
            self._flush()
            if self._open and self._open[-1] == element.tag:
                self._open.pop()
            if element.tag in _LISTS and self._numbers:
                self._numbers.pop()
        elif element.tag in ("option", "button"):
            self._inline.append(" ")

    def _count(self, element: Any, tag: str) -> None:
        if tag in _LISTS:
            self._numbers.append(_integer(element.get("start"), 1) - 1 if tag == "ol" else None)
        elif tag == "li" and self._numbers and (last := self._numbers[-1]) is not None:
            self._numbers[-1] = number = _integer(element.get("value"), last + 1)
            self._number = f"{number}. "

    def _text(self, text: str | None) -> None:
        if text:
            self._inline.append(text if "pre" in self._open else _WHITE.sub(" ", text))

    def _flush(self) -> None:
        text = "".join(self._inline)
        self._inline.clear()
        if not text.strip():
            return
        kind, level = self._context()
        if kind is not ElementKind.CODE:
            text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
            text = re.sub(r"\n{2,}", "\n", text) if kind is ElementKind.HEADING else text
        if kind is ElementKind.LIST_ITEM and self._number:
            text, self._number = self._number + text.lstrip(), ""
        self._add(_Block(kind, text, level))

    def _context(self) -> tuple[ElementKind, int]:
        for tag in reversed(self._open):
            if tag[0] == "h" and tag[1:].isdigit():
                return ElementKind.HEADING, int(tag[1:])
            if tag in _KINDS:
                return _KINDS[tag], 0
            if tag in ("td", "th", "section", "article", "main"):
                break
        return ElementKind.PARAGRAPH, 0

    def _table(self, table: Any) -> None:
        for caption in table.iterchildren("caption"):
            if not self.visibility.leaves_out(caption) and (text := cell_text(caption, self.visibility)):
                self._add(_Block(ElementKind.CAPTION, text))
        rows, header_rows = table_rows(table, self.visibility)
        self._add(_Block(ElementKind.TABLE, " ".join(cell for row in rows for cell in row), header_rows, rows))

    def _add(self, block: _Block) -> None:
        self.blocks.append(block)
        self.words += len(block.text.split())
