"""Questions that are answered from the rows of one table or record set, be it split over files, or passed on.

A wrong number is worse than none: see :mod:`ckllm.records.plan` for what has to be certain. Rows are read back from the stored
text of the document, all of them, whichever chunks were found; every row that is cited is the exact slice of that text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckllm.contracts import Access, Chunk, Computed, Hit, Quote
from ckllm.records.computing import Result, computed
from ckllm.records.parts import longest
from ckllm.records.plan import NoPlanError, plans
from ckllm.records.question import Question, recognised
from ckllm.records.series import Part, located, series
from ckllm.records.table import Table, read, usable
from ckllm.records.telling import told
from ckllm.records.vocabulary import LANGUAGES
from ckllm.records.words import spaced, words
from ckllm.store.catalogue_rows import Rowed, RowedText

MOST_DOCUMENTS = 12
"""Documents among the passages found, the best first, whose tables are looked at."""
RIVAL = 20_000
"""Characters of a table that cannot be counted in which the words of the question are looked for."""
_ABOVE = 200
"""Characters above a table in which its caption may stand."""
MOST_TABLES = 60
"""Tables of these; with more of them it is not clear which one is meant."""


class RowSource(Protocol):
    """What is asked of the catalogue."""

    def rowed(self, version_ids: Sequence[str], access: Access) -> list[Rowed]: ...

    def rowed_text(self, version_id: str) -> RowedText | None: ...

    def chunks_at(self, rowed: Rowed, content: RowedText, offsets: Sequence[int]) -> list[Chunk]: ...

    def beside(self, rowed: Rowed, start: str, access: Access) -> list[tuple[str, Rowed | None]]: ...


@dataclass(frozen=True, slots=True)
class RowSentence:
    """A sentence of the answer with the exact rows that it rests on; a quote's marker counts `RowAnswer.hits` from 1."""

    text: str
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What the rows say, and the chunks that hold the rows that are cited."""

    sentences: tuple[RowSentence, ...]
    hits: tuple[Hit, ...]
    short: str
    computed: Computed
    listed: bool
    """Sentences stand on lines of their own."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    result: Result
    parts: tuple[Part, ...]
    """The tables that the result's rows are of, one after the other."""


class _UnclearError(Exception):
    """More than one table, or more than one reading, may be meant."""


def row_answer(
    question: str, hits: Sequence[Hit], source: RowSource, access: Access, *, narrowed: bool = False
) -> RowAnswer | None:
    """The answer that the rows give; None where the question is not of this kind, or anything about it is not certain.

    `hits` are the passages found, best first. `narrowed`: a condition chose among passages, so tables of which none was found
    do not count.
    """
    asked = recognised(question)
    if asked is None:
        return None
    try:
        chosen = _one(list(_candidates(asked, hits, source, access, narrowed=narrowed)))
    except _UnclearError:
        return None
    return _answered(asked, chosen, hits, source) if chosen else None


def _candidates(
    asked: Question, hits: Sequence[Hit], source: RowSource, access: Access, *, narrowed: bool
) -> Iterator[_Candidate]:
    versions = list(dict.fromkeys(hit.version_id for hit in hits))[:MOST_DOCUMENTS]
    looked = 0
    for rowed in source.rowed(versions, access):
        content = source.rowed_text(rowed.version_id) if usable(rowed) else None
        if content is None:
            continue
        langs = tuple(dict.fromkeys((asked.lang, rowed.lang or "en")))
        sections = source.chunks_at(rowed, content, [one.start for one in content.row_sets])
        if len(sections) < len(content.row_sets):
            continue  # the version is going while it is read
        for at, (one, chunk) in enumerate(zip(content.row_sets, sections, strict=True)):
            if narrowed and not any(
                hit.version_id == rowed.version_id and hit.start < one.end and one.start < hit.end for hit in hits
            ):
                continue
            looked += 1
            if looked > MOST_TABLES:
                raise _UnclearError
            if not _may_fit(asked, rowed, content, at, chunk.section):
                continue
            table = read(rowed, content, at, chunk.section, langs)
            if table is None:
                _refuse_rival(asked, rowed, content, at, chunk.section)
            elif candidate := _candidate(asked, Part(table, content), None if narrowed else source, access):
                yield candidate


def _candidate(asked: Question, found: Part, source: RowSource | None, access: Access) -> _Candidate | None:
    """What all files say that the table is split over, or the one whose number the question gives."""
    split = series(found, source, access) if source else None
    table = found.table
    if split is not None:
        of_all = _result(asked, split.bare)
        if of_all is not None and not split.parts:
            raise _UnclearError
        if of_all is not None:
            return _Candidate(of_all, split.parts)
        table = split.named
    result = _result(asked, table)
    return _Candidate(result, (found,)) if result else None


def _may_fit(asked: Question, rowed: Rowed, content: RowedText, at: int, section: str) -> bool:
    """Whether header and names hold any word of the question: a look that spares reading large tables in vain."""
    one = content.row_sets[at]
    head = content.text[one.start : one.rows[one.header]] if 0 < one.header < len(one.rows) else content.text[one.start : one.end]
    above = content.text[max(0, one.start - _ABOVE) : one.start]
    text = spaced(f"{section} {rowed.title} {rowed.source.rsplit('/', 1)[-1]} {above} {head[:RIVAL]}")
    known = {stem for word in words(text, tuple(dict.fromkeys((asked.lang, rowed.lang or "en")))) for stem in word.stems}
    function = asked.language.function
    return any(asked.words[place].stems & known for place in asked.rest if (asked.words[place].key,) not in function)


def _refuse_rival(asked: Question, rowed: Rowed, content: RowedText, at: int, section: str) -> None:
    """A table that cannot be counted, and that may be the one that is meant, is in the way of every other."""
    one = content.row_sets[at]
    function = asked.language.function | asked.language.rows
    wanted = [word for place in asked.rest if not (word := asked.words[place]).is_number and (word.key,) not in function]
    there = words(
        f"{section} {rowed.title} {rowed.source} {content.text[max(0, one.start - _ABOVE) : one.end][:RIVAL]}", (asked.lang,)
    )
    known = {stem for word in there for stem in word.stems}
    if wanted and all(word.stems & known for word in wanted if longest(asked.words, asked.words.index(word), _COMPARISONS) == 0):
        raise _UnclearError


def _result(asked: Question, table: Table) -> Result | None:
    """None where the table does not account for the question's words; raises _UnclearError where it does, in several ways."""
    try:
        results = [computed(plan) for plan in plans(asked, table)]
    except NoPlanError as reason:
        if reason.fits:
            raise _UnclearError from None
        return None
    known = [result for result in results if result is not None]
    if len(known) < len(results) or len({result.key for result in known}) != 1:
        raise _UnclearError
    return known[0]


def _one(found: Sequence[_Candidate]) -> _Candidate | None:
    """The one table that answers; copies of it count once, and a table that the question names goes before its neighbours."""
    different: list[_Candidate] = []
    for one in found:
        table = one.result.plan.table
        if not any(
            table.columns == (other := known.result.plan.table).columns and table.rows == other.rows for known in different
        ):
            different.append(one)
    different.sort(key=lambda one: -one.result.plan.local)
    if len(different) > 1 and different[0].result.plan.local == different[1].result.plan.local:
        raise _UnclearError
    return different[0] if different else None


def _answered(asked: Question, chosen: _Candidate, hits: Sequence[Hit], source: RowSource) -> RowAnswer | None:
    result, parts = chosen.result, chosen.parts
    answer = told(result, asked.lang)
    spans = [[_place(parts, row) for row in line.rows] or [(0, _head(parts[0].table))] for line in answer.lines]
    chunks: dict[tuple[int, int], Chunk] = {}
    for at, part in enumerate(parts):
        starts = [span[0] for some in spans for one, span in some if one == at]
        found = source.chunks_at(part.table.rowed, part.content, starts)
        if len(found) < len(starts):
            return None  # the version is going while it is read
        chunks |= {(at, start): chunk for start, chunk in zip(starts, found, strict=True)}
    known = {hit.chunk_id: hit for hit in hits}
    used: dict[str, Hit] = {}
    for at, span in (one for some in spans for one in some):
        chunk = chunks[at, span[0]]
        used.setdefault(chunk.chunk_id, known.get(chunk.chunk_id) or _hit(chunk, parts[at].table.rowed))
    markers = {chunk_id: marker for marker, chunk_id in enumerate(used, start=1)}
    sentences = tuple(
        RowSentence(
            line.text,
            tuple(
                Quote(markers[chunks[at, start].chunk_id], start, end, parts[at].content.text[start:end])
                for at, (start, end) in some
            ),
        )
        for line, some in zip(answer.lines, spans, strict=True)
    )
    plan = result.plan
    note = Computed(
        plan.operation if plan.extreme is None else plan.extreme, plan.table.name, parts[0].table.rowed.document_id,
        tuple(condition.shown for condition in plan.conditions), len(result.rows), result.of, result.value,
    )  # fmt: skip
    return RowAnswer(sentences, tuple(used.values()), answer.short, note, plan.operation == "list")


def _place(parts: Sequence[Part], row: int) -> tuple[int, tuple[int, int]]:
    """The part that a row is in, and the row's span there."""
    at, there = located(parts, row)
    return at, parts[at].table.span(there)


def _head(table: Table) -> tuple[int, int]:
    return table.header_span() or table.span(0)


def _hit(chunk: Chunk, rowed: Rowed) -> Hit:
    """A chunk that no search returned."""
    return Hit(
        rank=0, score=0.0, text=chunk.text, source=rowed.source, title=rowed.title, page=chunk.page, section=chunk.section,
        start=chunk.start, end=chunk.end, document_id=rowed.document_id, chunk_id=chunk.chunk_id, found_by=(), lang=rowed.lang,
        version_id=rowed.version_id,
    )  # fmt: skip


_COMPARISONS = frozenset(phrase for language in LANGUAGES.values() for phrase in (*language.comparisons, *language.trailing))
