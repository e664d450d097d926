"""Training rows from instruction data by category, and from the text of documents.

`segments` follows Herd: each expert gets the rows of its categories and up to a tenth of the others', so that a prompt that
was routed wrong still works. `cloze_rows` makes questions of the documents' own sentences without any model: simple, and
honest about what it is.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import regex

from ckllm.contracts import Hit, Message
from ckllm.errors import DataError, UsageError
from ckllm.experts.training.rows import Row, read_rows_with_fields
from ckllm.prompting.grounded import grounded_messages

FOREIGN = 0.1
"""The largest share of an expert's rows that may be other experts'."""
SEGMENTS: Mapping[str, tuple[str, ...]] = {
    "qa": ("quiz", "multiple_choice", "contextual", "counterfactual_contextual"),
    "creative": ("card", "writing", "experience", "song", "roleplay", "gtkm", "rp", "detailed_writing", "joke"),
    "code": ("coding",),
    "reasoning": ("cot", "theory_of_mind", "riddle", "orca"),
    "function": ("agent", "plan"),
    "general": ("wordgame", "trivia", "general"),
}
"""Expert → categories of instruction data, as Herd divides them."""
_FACT = regex.compile(r"\b(?:\p{Lu}[\p{L}\p{M}'’-]+(?:\s+\p{Lu}[\p{L}\p{M}'’-]+)*|\p{N}+(?:[.,]\p{N}+)*)\b")
_SENTENCE = regex.compile(r"[^.!?。！？।\n]+[.!?。！？।]?")
_SHORTEST, _LONGEST = 40, 300
"""Characters of a sentence that a cloze question is made from."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as it will be shown to the model."""

    text: str
    title: str
    source: str
    section: str = ""


def segments(
    rows: Sequence[tuple[str, Row]], experts: Mapping[str, Sequence[str]] = SEGMENTS, foreign: float = FOREIGN, seed: int = 0
) -> dict[str, list[Row]]:
    """Expert → its rows, shuffled, of (category, row) pairs. Raises UsageError for `foreign` outside 0 … FOREIGN.

    A category that no expert has is left out; an expert without rows is not in the result.
    """
    if not 0 <= foreign <= FOREIGN:
        raise UsageError(f"foreign = {foreign}: a share from 0 to {FOREIGN} is expected")
    owner = {category: expert for expert, categories in experts.items() for category in categories}
    own: dict[str, list[Row]] = defaultdict(list)
    for category, row in rows:
        if category in owner:
            own[owner[category]].append(row)
    result = {}
    for expert, mine in own.items():
        rng = random.Random(f"{seed}/{expert}")  # noqa: S311 - a sample, not a secret
        others = [row for name, theirs in own.items() if name != expert for row in theirs]
        guests = rng.sample(others, min(len(others), int(len(mine) * foreign / (1 - foreign))))
        result[expert] = [*mine, *guests]
        rng.shuffle(result[expert])
    return result


def cloze_rows(passages: Sequence[Passage], a_passage: int = 3, seed: int = 0) -> list[Row]:
    """Questions for the name or number that was taken out of a sentence, over its passage and another of the document."""
    neighbours: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        neighbours[passage.source].append(passage)
    rows = []
    for number, passage in enumerate(passages):
        rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a sample, not a secret
        gaps = [(question, answer) for _, question, answer in blanks(passage.text)]
        others = [other for other in neighbours[passage.source] if other != passage]
        shown = [passage, *rng.sample(others, min(1, len(others)))]
        rng.shuffle(shown)
        hits = [_hit(one, rank) for rank, one in enumerate(shown, start=1)]
        for question, answer in rng.sample(gaps, min(a_passage, len(gaps))):
            messages: tuple[Message, ...] = grounded_messages(f"Complete the sentence: {question}", hits)
            rows.append(Row(messages, answer, passage.source))
    return rows


def heading_rows(passages: Sequence[Passage], seed: int = 0) -> list[Row]:
    """Questions for what stands under a heading, answered by the first sentence of the heading's first passage.

    Sections are told apart by (source, section); another passage of the document is shown beside the right one.
    """
    first: dict[tuple[str, str], Passage] = {}
    neighbours: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        neighbours[passage.source].append(passage)
        if passage.section:
            first.setdefault((passage.source, passage.section), passage)
    rows = []
    for number, passage in enumerate(first.values()):
        answer = next((one for text in _SENTENCE.findall(passage.text) if _SHORTEST <= len(one := text.strip()) <= _LONGEST), "")
        heading = passage.section.rsplit(" › ", 1)[-1]
        if not answer or heading in answer:
            continue
        rng = random.Random(f"{seed}/heading/{number}")  # noqa: S311 - a sample, not a secret
        others = [other for other in neighbours[passage.source] if other.section != passage.section]
        shown = [passage, *rng.sample(others, min(1, len(others)))]
        rng.shuffle(shown)
        hits = [_hit(one, rank) for rank, one in enumerate(shown, start=1)]
        rows.append(Row(grounded_messages(f"What is said under “{heading}”?", hits), answer, passage.source))
    return rows


def read_category_rows(file: Path) -> list[tuple[str, Row]]:
    """(category, row) of each row of a JSON Lines file of training rows that has a `"category"`.

    Raises DataError for a row that is none, or where no row has a category.
    """
    rows, _ = read_rows_with_fields(file)
    named = [(fields.get("category"), row) for row, fields in rows]
    found = [(category, row) for category, row in named if isinstance(category, str)]
    if not found:
        raise DataError(f'{file}: no row has a "category": that is what rows are given to experts by')
    return found


def write_rows(rows: Sequence[Row], file: Path) -> None:
    """Write training rows as JSON Lines, whole or not at all."""
    new = file.with_name(file.name + ".new")
    new.write_text("".join(json.dumps(row.as_json(), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    new.replace(file)


def blanks(text: str) -> Iterator[tuple[str, str, str]]:
    """(sentence, the sentence with a gap, what stood there); only facts that occur once in it and not at its start."""
    for sentence in _SENTENCE.findall(text):
        plain = sentence.strip()
        if not _SHORTEST <= len(plain) <= _LONGEST:
            continue
        for fact in _FACT.finditer(plain):
            if fact.start() and plain.count(fact[0]) == 1:
                yield plain, f"{plain[: fact.start()]}____{plain[fact.end() :]}", fact[0]


def _hit(passage: Passage, rank: int) -> Hit:
    return Hit(
        rank=rank, score=0.0, text=passage.text, source=passage.source, title=passage.title, page=None, section="", start=0,
        end=len(passage.text), document_id="", chunk_id="", found_by=(),
    )  # fmt: skip
