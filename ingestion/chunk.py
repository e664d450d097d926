"""From a document to the spans that are embedded and found: pure, and linear in the text.

Elements are grouped under their headings up to the limit and never across headings or pages, so that a chunk has one section and
one page; what is too long is cut (see `ingestion/cut.py`), tables at their rows with the header repeated in the context. Every
character that is not white space is in at least one chunk, and `document.text[chunk.start:chunk.end] == chunk.text`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from ckllm.contracts import Chunk, Document, Element, ElementKind, digest
from ckllm.embedding.base import Embedder
from ingestion.cut import CODE, PROSE, Costs, Span, cut, halve, trimmed, with_overlap

SEPARATOR = " › "
_HEADINGS = frozenset({ElementKind.TITLE, ElementKind.HEADING})
_MARKUP = re.compile(r"^[#=]+\s+|\s+(?:#+|[=~^-]{2,})$")
"""Marks of headings in plain-text formats; they belong to the text, and not to the name of a section."""
_PART_LENGTH = 120
"""Characters of a heading or title that the context takes over."""
_HEADER_LENGTH = 2_000
_LARGEST_LIMIT = 1_000
"""Tokens. Of at most 16 bytes each: so a chunk, and what is indexed of its words, has room in a Milvus text field."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A piece of text of one kind, on one page, under one heading; outer white space taken off."""

    kind: ElementKind
    start: int
    end: int
    page: int | None
    section: tuple[str, ...]
    header: str = ""
    rows: tuple[int, ...] = ()
    cost: int = 0

    @property
    def is_heading(self) -> bool:
        return self.kind in _HEADINGS


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk to be."""

    start: int
    end: int
    block: _Block
    context: str


def chunks_of(
    document: Document, document_id: str, version_id: str, embedder: Embedder, chunk_tokens: int, overlap_tokens: int
) -> list[Chunk]:
    """Chunks in the order of the text, each of at most `chunk_tokens` tokens.

    Context and text together never have more than `embedder.max_tokens`, counted as they are embedded.
    """
    chunker = _Chunker(document, embedder, min(chunk_tokens, _LARGEST_LIMIT), overlap_tokens)
    return [
        Chunk(
            chunk_id=digest(document_id, version_id, str(piece.start), str(piece.end)),
            document_id=document_id,
            version_id=version_id,
            ordinal=ordinal,
            start=piece.start,
            end=piece.end,
            text=document.text[piece.start : piece.end],
            context=piece.context,
            page=piece.block.page,
            section=SEPARATOR.join(piece.block.section),
            kind=piece.block.kind,
        )
        for ordinal, piece in enumerate(chunker.pieces())
    ]


class _Chunker:
    def __init__(self, document: Document, embedder: Embedder, chunk_tokens: int, overlap_tokens: int) -> None:
        self._document = document
        self._text = document.text
        self._costs = Costs(embedder)
        self._most = embedder.max_tokens
        self._limit = min(chunk_tokens, embedder.max_tokens)
        self._overlap = min(overlap_tokens, self._limit // 4)
        self._contexts: dict[tuple[str, ...], str] = {}
        self._headers: dict[str, str] = {}
        self._count = embedder.count_tokens

    def pieces(self) -> list[_Piece]:
        made = [piece for group in self._groups() for piece in self._pieces_of(group)]
        return self._within_limits([piece for piece in map(self._trimmed, made) if piece.start < piece.end])

    # -- grouping

    def _groups(self) -> Iterator[list[_Block]]:
        """Blocks that become one chunk, or, where one block is too long, several."""
        group: list[_Block] = []
        total = 0
        for block in self._priced(list(_blocks(self._document))):
            if group and not self._joins(group, block, total):
                yield group
                group, total = [], 0
            group.append(block)
            total += block.cost + 1
        if group:
            yield group

    def _priced(self, blocks: list[_Block]) -> Iterator[_Block]:
        """Blocks with their cost; what is certainly too long is not counted."""
        sure = [self._costs.at_least(block.end - block.start) for block in blocks]
        counted = [at for at, cost in enumerate(sure) if cost <= self._limit]
        costs = self._costs.many([self._text[blocks[at].start : blocks[at].end] for at in counted])
        prices = dict(zip(counted, costs, strict=True))
        for at, block in enumerate(blocks):
            yield replace(block, cost=prices.get(at, sure[at]))

    def _joins(self, group: list[_Block], block: _Block, total: int) -> bool:
        last = group[-1]
        if last.page != block.page:
            return False
        fits = total + block.cost <= self._room(block)
        if last.is_heading:
            return fits or not block.is_heading
        return fits and not block.is_heading and _family(last.kind) == _family(block.kind)

    def _room(self, block: _Block) -> int:
        """Cost that a chunk's text may have beside its context."""
        context = self._context(block.section) + ("\n" + self._header(block.header) if block.header else "")
        return max(1, min(self._limit, self._most - self._costs.one(context) - 2))

    # -- cutting

    def _pieces_of(self, group: list[_Block]) -> list[_Piece]:
        start, end = group[0].start, group[-1].end
        main = next((block for block in group if not block.is_heading), group[-1])
        cost = sum(block.cost for block in group) + len(group) - 1
        room = self._room(main)
        if cost <= room:
            return [_Piece(start, end, main, self._context_at(start, group, main))]
        spans = (self._cut_table if main.rows else self._cut)(start, end, main, room)
        return [_Piece(*span, main, self._context_at(span[0], group, main)) for span in spans]

    def _cut(self, start: int, end: int, main: _Block, room: int) -> list[Span]:
        text = self._text[start:end]
        if main.kind is ElementKind.CODE:
            spans = cut(text, CODE, room, self._costs)
        else:
            overlap = min(self._overlap, room // 4)
            spans = with_overlap(text, cut(text, PROSE, max(1, room - overlap), self._costs), overlap, self._costs)
        return [(start + first, start + last) for first, last in spans]

    def _cut_table(self, start: int, end: int, main: _Block, room: int) -> list[Span]:
        """Runs of whole rows; a row that is too long by itself is cut like prose."""
        bounds = [start, *(row for row in main.rows if start < row < end), end]
        rows = list(pairwise(bounds))
        costs = self._costs.many([self._text[first:last] for first, last in rows])
        spans: list[Span] = []
        total = 0
        for (first, last), cost in zip(rows, costs, strict=True):
            if cost > room:
                pieces = cut(self._text[first:last], PROSE, room, self._costs)
                spans += [(first + at, first + to) for at, to in pieces]
                total = room
            elif spans and total + cost < room:
                spans[-1] = (spans[-1][0], last)
                total += cost + 1
            else:
                spans.append((first, last))
                total = cost
        return spans

    # -- context

    def _context_at(self, start: int, group: list[_Block], main: _Block) -> str:
        """Title, headings that are not in the chunk itself, and the header of a table's later parts."""
        path = group[0].section[:-1] if group[0].is_heading and start <= group[0].start else main.section
        context = self._context(path)
        if main.header and start > main.start:
            context = f"{context}\n{self._header(main.header)}" if context else self._header(main.header)
        return context

    def _context(self, path: tuple[str, ...]) -> str:
        if path not in self._contexts:
            title = " ".join(self._document.title.split())
            parts = ([title] if title and path[:1] != (title,) else []) + list(path)
            joined = SEPARATOR.join(_shortened(part, _PART_LENGTH) for part in parts)
            self._contexts[path] = self._within(joined, self._limit // 4)
        return self._contexts[path]

    def _header(self, header: str) -> str:
        if header not in self._headers:
            self._headers[header] = self._within(_shortened(header, _HEADER_LENGTH), self._limit // 4)
        return self._headers[header]

    def _within(self, text: str, budget: int) -> str:
        while text and self._costs.one(text) > budget:
            text = text[: len(text) * 3 // 4].rstrip()
        return text

    # -- checking

    def _trimmed(self, piece: _Piece) -> _Piece:
        start, end = trimmed(self._text, (piece.start, piece.end))
        return replace(piece, start=start, end=end)

    def _within_limits(self, pieces: list[_Piece]) -> list[_Piece]:
        """Token counts of parts do not add up exactly: count every chunk as it will be embedded, and halve what is too long."""
        done: list[tuple[int, _Piece]] = []
        unchecked = list(enumerate(pieces))
        while unchecked:
            texts = [self._text[piece.start : piece.end] for _, piece in unchecked]
            wholes = [
                f"{piece.context}\n{text}" if piece.context else text for (_, piece), text in zip(unchecked, texts, strict=True)
            ]
            halves: list[tuple[int, _Piece]] = []
            for (at, piece), cost, whole in zip(unchecked, self._costs.many(texts), self._tokens(wholes), strict=True):
                if (cost <= self._limit and whole <= self._most) or piece.end - piece.start < 2:
                    done.append((at, piece))
                    continue
                parts = (
                    self._trimmed(replace(piece, start=first, end=last))
                    for first, last in halve(self._text, (piece.start, piece.end))
                )
                halves += [(at, part) for part in parts if part.start < part.end]
            unchecked = halves
        ordered = [piece for _, piece in sorted(done, key=lambda entry: (entry[0], entry[1].start))]
        ends = [0, *accumulate((piece.end for piece in ordered), max)]
        # half of an overlapping piece may be nothing but overlap
        return [piece for piece, end in zip(ordered, ends, strict=False) if piece.end > end]

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        return [count for first in range(0, len(texts), 1024) for count in self._count(texts[first : first + 1024])]


def _blocks(document: Document) -> Iterator[_Block]:
    """The whole text but white space: elements, and as paragraphs what lies between them, each within one page."""
    path: list[tuple[int, str]] = []
    starts = [page.start for page in document.pages]
    for element in _covering(document):
        for start, end in _by_page(element, starts):
            first, last = trimmed(document.text, (start, end))
            if first >= last:
                continue
            if element.kind in _HEADINGS and start == element.start:
                _enter(path, element, document)
            number = _page_at(document, first, starts)
            section = tuple(text for _, text in path)
            yield _Block(
                element.kind, first, last, element.page if number is None else number, section, element.header, element.rows
            )


def _covering(document: Document) -> Iterator[Element]:
    """Elements and the gaps between them, in order; together they are the whole text."""
    at = 0
    for element in document.elements:
        if element.end <= at:
            continue
        if element.start > at:
            yield Element(ElementKind.PARAGRAPH, at, element.start)
        yield replace(element, start=max(at, element.start))
        at = element.end
    if at < len(document.text):
        yield Element(ElementKind.PARAGRAPH, at, len(document.text))


def _by_page(element: Element, starts: list[int]) -> Iterator[Span]:
    """The element's span, cut where a new page begins."""
    at = element.start
    for start in starts[bisect_right(starts, element.start) :]:
        if start >= element.end:
            break
        yield at, start
        at = start
    yield at, element.end


def _page_at(document: Document, offset: int, starts: list[int]) -> int | None:
    at = bisect_right(starts, offset) - 1
    return document.pages[at].page if at >= 0 else None


def _enter(path: list[tuple[int, str]], heading: Element, document: Document) -> None:
    """Put a heading on the path in place of those of its depth and below; the document's own title is not a section."""
    text = _shortened(_MARKUP.sub("", " ".join(document.text[heading.start : heading.end].split())), _PART_LENGTH)
    level = 0 if heading.kind is ElementKind.TITLE else max(1, heading.level)
    while path and path[-1][0] >= level:
        path.pop()
    if heading.kind is not ElementKind.TITLE or text != " ".join(document.title.split()):
        path.append((level, text))


def _family(kind: ElementKind) -> str:
    """Kinds that may share a chunk."""
    return kind.value if kind in (ElementKind.TABLE, ElementKind.CODE) else "prose"


def _shortened(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text[:length].rsplit(None, 1)[0] + "…"
