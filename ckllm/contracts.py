"""Every noun that crosses a stage, in the order in which the data meets them.

Write path: `Source` → `Document` (text, `Element`, `PageSpan`, character boxes) → `Chunk` → stored.
Read path:  `Query` → `Hit` → `Evidence` → `Route` → `Prompt` → `Citation`, `Sentence` → `Answer`.

Offsets count Unicode code points, `start` inclusive and `end` exclusive, always into the extracted text of one version of
one document (`Document.text`); a chunk's or a citation's text is never stored beside a span that it is not the slice of.
All classes are frozen: a stage that changes something makes a new object. This module imports the standard library only.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# ------------------------------------------------------------------------------------------------ write path

Stage: TypeAlias = Literal["fetch", "detect", "parse", "chunk", "embed", "store"]
"""Where a source was rejected."""


def digest(*parts: str, size: int = 16) -> str:
    """Hex id of `size` bytes over the parts; parts are length-prefixed, so that ("ab", "c") differs from ("a", "bc")."""
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to ingest, as found; its bytes lie in a local file."""

    uri: str
    """Absolute path, URL, or `PATH!/MEMBER` for a member of an archive or an attachment. Unique in a collection."""
    path: Path
    """The local file that holds the bytes; for a URL, an archive member or standard input, a temporary one."""
    size: int
    """Bytes."""
    sha256: str
    """Hex digest of the bytes."""
    media_type: str = ""
    """What the sender or the file's name claims; detection goes by content and uses this only as a hint."""
    modified: float | None = None
    """Seconds since the epoch, where known."""


class ElementKind(StrEnum):
    """What a piece of text is in its document, after unstructured's element types."""

    TITLE = "title"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"
    CAPTION = "caption"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Element:
    """A piece of a document's text that belongs together. Elements are in text order and do not overlap."""

    kind: ElementKind
    start: int
    end: int
    level: int = 0
    """Depth of a heading, 1 for the topmost; 0 for everything else."""
    page: int | None = None
    """1-based page, slide or sheet; None where the format has none."""
    header: str = ""
    """A table's header row, repeated as context for every chunk of a table that has to be cut."""
    rows: tuple[int, ...] = ()
    """A table's row starts (offsets into the text): the places where it may be cut."""


@dataclass(frozen=True, slots=True)
class RowSet:
    """The rows of a table, or the records of a data file, by the offsets at which they start."""

    start: int
    end: int
    rows: tuple[int, ...]
    """Every row's start, those of the header among them, in order; a row ends where the next one starts, or at `end`."""
    header: int = 0
    """How many rows, from the first, are the header."""
    records: bool = False
    """Each row is a block of `key: value` lines that names its own fields."""


@dataclass(frozen=True, slots=True)
class PageSpan:
    """The slice of the text that stands on one page. Width and height in points (1/72 inch), 0 where unknown."""

    page: int
    start: int
    end: int
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in points from the page's top left corner, as the page is displayed (rotation applied)."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Document:
    """What parsing makes of a source."""

    title: str
    text: str
    elements: tuple[Element, ...]
    pages: tuple[PageSpan, ...] = ()
    boxes: array[float] | None = None
    """Four float32 (x0, y0, x1, y1) a character of `text`, in the page's points; NaN where a character has no place
    on the page (white space that the parser added). None for formats without pages."""
    lang: str = ""
    """ISO 639-1 code of the main language, "" where it cannot be told."""
    media_type: str = ""
    """What detection found, e.g. `application/pdf`."""
    warnings: tuple[str, ...] = ()
    """What was neutralised or left out, in words: hidden text, skipped images, macros."""
    attachments: tuple[Source, ...] = ()
    """Child documents found inside: mail attachments, embedded files."""
    row_sets: tuple[RowSet, ...] = ()
    """Its tables and record sets, in text order."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document that is embedded and found as one. `document.text[start:end] == text`."""

    chunk_id: str
    """digest(document_id, version_id, start, end)."""
    document_id: str
    version_id: str
    ordinal: int
    """Position among the chunks of its version, from 0."""
    start: int
    end: int
    text: str
    context: str
    """Title, section path and, for a cut table, its header: embedded and searched with the text, never quoted."""
    page: int | None
    section: str
    """Path of headings, joined by " › "."""
    kind: ElementKind = ElementKind.PARAGRAPH

    @property
    def embedding_text(self) -> str:
        """What is embedded, and analysed for lexical search: the context, then the text."""
        return f"{self.context}\n{self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class Rejected:
    """A source that did not become a document, and why."""

    source: str
    stage: Stage
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """`added + updated + unchanged + len(rejected)` equals the number of sources seen."""

    collection: str
    added: int
    updated: int
    unchanged: int
    removed: int
    rejected: tuple[Rejected, ...]
    chunks: int
    """Chunks written in this run."""
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage, summed over workers; more than `seconds` in all where stages overlap."""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


class VersionState(StrEnum):
    """Life of one version of a document; only LIVE versions are ever shown."""

    PENDING = "PENDING"
    PARSED = "PARSED"
    EMBEDDED = "EMBEDDED"
    LIVE = "LIVE"
    OBSOLETE = "OBSOLETE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A line of `documents list`."""

    id: str
    source: str
    title: str
    state: str
    chunks: int
    pages: int
    lang: str
    groups: tuple[str, ...]
    collection: str
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        row = to_json(self)
        if self.reason is None:
            del row["reason"]
        return row


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """Where a chunk stands in its document's text."""

    chunk_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DocumentText:
    """`documents show`: the extracted text with its page map and chunk spans."""

    id: str
    source: str
    title: str
    text: str
    pages: tuple[PageSpan, ...]
    chunks: tuple[ChunkSpan, ...]
    reason: str | None = None
    """Why there is no text: it could not be read, or is still being ingested."""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


# ------------------------------------------------------------------------------------------------ read path

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, structured to the end: no template is applied before the engine's edge."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks. A document without groups is visible to everyone; one with groups to those who share one of them."""

    user: str | None = None
    groups: tuple[str, ...] = ()
    everything: bool = False
    """True for the owner of an unshared knowledge base (no `--as`, no key): groups do not hide anything."""


OWNER = Access(everything=True)


@dataclass(frozen=True, slots=True)
class Hit:
    """A ranked passage. `text` is the slice [start:end] of its document's text."""

    rank: int
    score: float
    text: str
    source: str
    title: str
    page: int | None
    section: str
    start: int
    end: int
    document_id: str
    chunk_id: str
    found_by: tuple[str, ...]
    """Which searches returned it: "dense", "lexical"."""
    lang: str = ""
    version_id: str = ""
    similarity: float = 0.0
    """Cosine of question and passage, 0 where only the lexical search found it."""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


@dataclass(frozen=True, slots=True)
class SearchResult:
    query: str
    seconds: float
    hits: tuple[Hit, ...]
    id: str | None = None

    def as_json(self) -> dict[str, Any]:
        row = to_json(self)
        return {"id": row.pop("id"), **row} if self.id is not None else _without(row, "id")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The ledger's line: a retrieved passage, and whether it was in the prompt and in the answer."""

    marker: int
    hit: Hit
    in_prompt: bool
    cited: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "marker": self.marker, "chunk_id": self.hit.chunk_id, "in_prompt": self.in_prompt, "cited": self.cited,
            "score": self.hit.score, "source": self.hit.source, "title": self.hit.title, "page": self.hit.page,
            "section": self.hit.section, "start": self.hit.start, "end": self.hit.end,
            "document_id": self.hit.document_id, "text": self.hit.text,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """Which expert answers, and why. Made from the question and the conversation, never from retrieved text."""

    expert: str
    confidence: float
    scores: Mapping[str, float]
    weights: Mapping[str, float]
    """Share of each adapter in the answer; {"base": 1.0} for the base model alone."""
    strategy: str
    reason: str
    threshold: float | None = None
    """Confidence below which the base model answers; None where the router knows no doubt."""

    def as_json(self) -> dict[str, Any]:
        row = to_json(self)
        return row if self.threshold is not None else _without(row, "threshold")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given: structured messages, and the evidence that is in them (markers 1, 2, …)."""

    messages: tuple[Message, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A span of evidence that supports a sentence."""

    marker: int
    """Marker of the evidence that it lies in."""
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """`[marker]` in the answer. The document's text at [start:end] equals `quote` exactly."""

    marker: int
    source: str
    title: str
    page: int | None
    section: str
    start: int
    end: int
    quote: str
    document_id: str
    chunk_id: str
    boxes: tuple[Box, ...] = ()

    def as_json(self) -> dict[str, Any]:
        row = to_json(self)
        return row if self.boxes else _without(row, "boxes")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the answer, without markers: `answer[start:end] == text`."""

    text: str
    start: int
    end: int
    supported: bool
    support: float
    """0 to 1."""
    citations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds on a monotonic clock; a stage that did not run is 0."""

    rewrite_s: float = 0.0
    retrieve_s: float = 0.0
    rerank_s: float = 0.0
    route_s: float = 0.0
    first_token_s: float = 0.0
    """From the question to the first token."""
    generate_s: float = 0.0
    verify_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Computed:
    """How an answer was computed from the rows of one table or record set; no model had a part in it."""

    operation: str
    """count, list, sum, average, minimum or maximum."""
    table: str
    """What the table is called."""
    document_id: str
    conditions: tuple[str, ...]
    """On its columns, as they were understood; all of them hold."""
    rows: int
    """Rows that were counted, listed or summed."""
    of: int
    """Rows of the table."""
    value: float | None = None
    """The number; None for a list."""


@dataclass(frozen=True, slots=True)
class Answer:
    """With `refused`, `reason` says why, there are no sentences and no citations, and the nearest passages are in `evidence`."""

    question: str
    answer: str
    short_answer: str | None
    refused: bool
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    route: Route
    evidence: tuple[Evidence, ...]
    usage: Usage
    timings: Timings
    reason: str | None = None
    quoted: bool = False
    """True where the answer consists of exact quotes: the sentence that a short answer was taken from, or the best evidence
    where what the model wrote was not supported."""
    id: str | None = None
    warnings: tuple[str, ...] = ()
    """What went wrong on the way and how it was mended, in words: the model wrote in another language than the question's."""
    computed: Computed | None = None
    """Set where the answer was computed from stored rows: its sentences are supported by construction, and what is cited was in
    no prompt."""

    def as_json(self) -> dict[str, Any]:
        row = {
            "id": self.id, "question": self.question, "answer": self.answer, "short_answer": self.short_answer,
            "refused": self.refused, "reason": self.reason, "quoted": self.quoted,
            "sentences": [to_json(s) for s in self.sentences],
            "citations": [c.as_json() for c in self.citations], "route": self.route.as_json(),
            "evidence": [e.as_json() for e in self.evidence], "usage": to_json(self.usage), "timings": to_json(self.timings),
            "warnings": list(self.warnings) or None, "computed": to_json(self.computed) if self.computed else None,
        }  # fmt: skip
        return _without(row, *(key for key in ("id", "reason", "warnings", "computed") if row[key] is None))


# -- events of KnowledgeBase.stream(), in order


@dataclass(frozen=True, slots=True)
class Retrieved:
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    route: Route


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of unverified text as the model writes it; the verified answer comes with `Verified`."""

    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Done:
    answer: Answer
    cut_off: bool = False
    """The model had written as much as it may, and had not come to its end."""


Event: TypeAlias = Retrieved | Routed | Token | Verified | Done


# ------------------------------------------------------------------------------------------------ JSON


def to_json(value: DataclassInstance) -> dict[str, Any]:
    """A dataclass as plain values that `json.dumps` takes (tuples become arrays)."""
    return asdict(value)


def _without(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
