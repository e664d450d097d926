"""Cutting a text that is too long for one chunk, at the best places it has. Pure; knows nothing of documents.

A text's cost is its length in the embedder's tokens, or a sixteenth of its bytes in UTF-8 where that is more: some tokenizers
make one token of a word of any length, and a chunk of unlimited length could neither be shown nor stored.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ckllm.embedding.base import Embedder

Span: TypeAlias = tuple[int, int]

BYTES_PER_TOKEN = 16
"""More bytes of UTF-8 than this count as another token."""

WINDOW = 20_000
"""Characters handed to the splitter at a time, so that time and memory stay linear in the text."""

_BATCH_TEXTS = 1024
_BATCH_CHARACTERS = 1_000_000
_CACHED_LENGTH = 32
_CACHED_TEXTS = 100_000

_SENTENCE_END = r"(?<=[.!?…])\s+|(?<=[。！？؟।॥۔])[」』”’）)]*\s*"
_CLAUSE_END = r"(?<=[,;:،؛])\s+|(?<=[，、；：])"

PROSE: tuple[str, ...] = (r"\n\s*\n", r"\n", _SENTENCE_END, _CLAUSE_END, r"\s+", "")
"""Where prose may be cut, best first: paragraph, line, sentence, clause, word, character."""

_MEMBER = "def|async def|fn|func|function|public|private|protected|static"

CODE: tuple[str, ...] = (
    rf"\n(?=(?:class|interface|struct|enum|trait|impl|module|namespace|{_MEMBER})\b)",
    rf"\n(?=[ \t]+(?:{_MEMBER})\b)",
    r"\n[ \t]*\n",
    r"\n",
    r"\s+",
    "",
)
"""Where source code may be cut, best first: definition, member, blank line, line, word, character."""

_NEXT_SENTENCE = re.compile(_SENTENCE_END + r"|\n+")
_WHITE = re.compile(r"\s+")


class Costs:
    """Counts texts in batches, and remembers short ones: words come again and again."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, int] = {}

    def many(self, texts: Sequence[str]) -> list[int]:
        """Cost of each text, in order."""
        costs: list[int] = []
        for batch in _batches(texts):
            tokens = self._embedder.count_tokens(batch)
            costs += [max(count, _by_length(text)) for text, count in zip(batch, tokens, strict=True)]
        return costs

    def one(self, text: str) -> int:
        if len(text) > _CACHED_LENGTH:
            return self.many([text])[0]
        cost = self._known.get(text)
        if cost is None:
            if len(self._known) >= _CACHED_TEXTS:
                self._known.clear()
            cost = self._known[text] = self.many([text])[0]
        return cost

    def at_least(self, text_length: int) -> int:
        """What a text of that many characters costs at the least, without counting it."""
        return math.ceil(text_length / BYTES_PER_TOKEN)


def _by_length(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) >= _BATCH_TEXTS or characters + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


def cut(text: str, separators: Sequence[str], limit: int, costs: Costs) -> list[Span]:
    """Consecutive spans that together are the whole text, each of about `limit` cost at the most.

    The pieces of a window are made about equally long, so that no stub is left at its end. Costs are added up piece by piece,
    as RecursiveCharacterTextSplitter does; the sum can differ a little from the cost of the whole, and the caller checks.
    """
    # costs two seconds to import, and most texts need no cutting
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    spans: list[Span] = []
    for start, end in _windows(text):
        window = text[start:end]
        total = costs.many([window])[0]
        pieces = math.ceil(total / limit)
        size = min(limit, math.ceil(1.1 * total / max(1, pieces)))
        splitter = RecursiveCharacterTextSplitter(
            separators=list(separators),
            is_separator_regex=True,
            keep_separator="end",
            strip_whitespace=False,
            chunk_size=max(1, size),
            chunk_overlap=0,
            length_function=costs.one,
        )
        at = start
        for piece in splitter.split_text(window):
            if spans and piece.isspace():
                spans[-1] = (spans[-1][0], at + len(piece))
            else:
                spans.append((at, at + len(piece)))
            at += len(piece)
        assert at == end, "the splitter keeps every character"
    return spans


def _windows(text: str) -> Iterator[Span]:
    """Spans of at most WINDOW characters, ending at a line's end or white space where there is one in the second half."""
    start = 0
    while len(text) - start > WINDOW:
        end = start + WINDOW
        for separator in ("\n\n", "\n", "。", " "):
            found = text.rfind(separator, start + WINDOW // 2, end)
            if found >= 0:
                end = found + len(separator)
                break
        else:
            end = whole_character(text, end)
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)


def with_overlap(text: str, spans: Sequence[Span], overlap: int, costs: Costs) -> list[Span]:
    """Let every span but the first begin up to `overlap` cost earlier, at the start of a sentence if it can, else of a word."""
    if overlap <= 0 or len(spans) < 2:
        return list(spans)
    made = [spans[0]]
    prices = costs.many([text[start:end] for start, end in spans[:-1]])
    for (before, start), price, (_, end) in zip(spans, prices, spans[1:], strict=False):
        share = min(1.0, overlap / max(1, price))
        earliest = max(before + 1, start - int(share * (start - before)))
        made.append((_beginning(text, earliest, start), end))
    return made


def _beginning(text: str, earliest: int, latest: int) -> int:
    for pattern in (_NEXT_SENTENCE, _WHITE):
        found = pattern.search(text, earliest, latest)
        if found and found.end() < latest:
            return found.end()
    return min(whole_character(text, earliest), latest)


def halve(text: str, span: Span) -> list[Span]:
    """Two spans that together are `span`, cut at the white space nearest to its middle; one character is returned as it is."""
    start, end = span
    if end - start < 2:
        return [span]
    middle = (start + end) // 2
    right = _WHITE.search(text, middle, end)
    left = max(text.rfind(white, start, middle) for white in (" ", "\n", "\t"))
    candidates = [at for at in (right.end() if right else -1, left + 1 if left >= 0 else -1) if start < at < end]
    at = min(candidates, key=lambda place: abs(place - middle), default=whole_character(text, middle))
    at = at if start < at < end else middle
    return [(start, at), (at, end)]


def whole_character(text: str, at: int) -> int:
    """The next offset from `at` on that does not part a letter from its combining marks."""
    last = min(len(text), at + 16)
    while at < last and (unicodedata.category(text[at]).startswith("M") or text[at] in "\u200c\u200d"):
        at += 1
    return at


def trimmed(text: str, span: Span) -> Span:
    """Without outer white space; start == end where there is nothing else."""
    start, end = span
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), max(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
