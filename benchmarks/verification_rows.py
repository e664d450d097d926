"""Sentences with the span that they cite and whether it supports them, made from evaluation sets by rule.

Supported: statements made of a question and its answer, answers that people wrote from marked evidence, evidence sentences that
lose an aside. Not supported: the same with one thing changed (number, name, order of names, negation, quantifier, unit, month, a
word), statements with another answer of the passage, statements from questions that the passage does not answer, and sentences
of other passages of the article. The span is chosen as in an answer, by :class:`ckllm.citations.attribution.EvidenceIndex`;
a supported sentence whose span does not hold the evidence is left out, since nobody knows its label, and one whose span lacks a
number or a name that it says, since a span does not support what it does not name. Of the test articles, what people wrote and
what was made of questions was read, by one reader who did not see what a verifier said of it: where the span does not say what
the rule takes it to say (the other half of the sentence stands elsewhere, "exporter" became "producer"), the row is left out; so
is one that was made to be false and is true. `verification_misjudged.txt` holds the hashes of these rows.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.sentences import split_sentences
from ckllm.citations.terms import content_keys, terms
from ckllm.citations.verification import names, numbers
from ckllm.contracts import Evidence, Hit
from ckllm.evaluation.statements import changes, same_words, stated, without_aside

Split = Literal["train", "test"]
SPLIT = "second"
"""Changed when the test articles have been looked at too often: the split is drawn anew."""
LANGUAGES = ("en", "de", "es", "hi", "ru", "zh", "ar")
SETS = ("squad2", "clapnq", "tydiqa/en", *(f"xquad/{lang}" for lang in LANGUAGES))
_SENTENCES_A_PASSAGE = 4
_MISJUDGED = Path(__file__).with_name("verification_misjudged.txt")


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """`supported` says whether `span` supports `sentence`; `kind` how the sentence was made."""

    sentence: str
    span: str
    supported: bool
    kind: str
    lang: str
    article: str
    split: Split
    source: str = ""
    """Who wrote it, where a model did."""


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    article: str
    text: str
    lang: str
    split: Split


def split_of(article: str) -> Split:
    """By the article's title, the same in every set and language: three quarters train, one tests."""
    share = int(hashlib.sha256(f"{SPLIT}: {article}".encode()).hexdigest()[:8], 16) % 100
    return "train" if share < 75 else "test"


def rows(folder: Path, seed: int = 0) -> list[LabelledSentence]:
    """All rows of `folder`, which holds squad2, xquad, clapnq and tydiqa; the same for the same seed."""
    made = (row for name in SETS for row in _of_set(folder / name, random.Random(f"{seed}: {name}")))
    misjudged = frozenset(_MISJUDGED.read_text(encoding="utf-8").split())
    return [row for row in dict.fromkeys(made) if (not row.supported or _named(row)) and digest([row])[:16] not in misjudged]


def _named(row: LabelledSentence) -> bool:
    """Whether the span has the numbers and names of the sentence, a name in whatever form."""
    known, span = {term.key for term in terms(row.span)}, row.span.casefold()
    return numbers(row.sentence) <= numbers(row.span) and all(
        name.casefold() in span or {term.key for term in terms(name)} <= known for name in names(row.sentence)
    )


def digest(made: Sequence[LabelledSentence]) -> str:
    """Of the rows that were used, in order."""
    return hashlib.sha256("\n".join(json.dumps([r.sentence, r.span, r.supported]) for r in made).encode()).hexdigest()


def passages_of(folder: Path) -> dict[str, Passage]:
    """The passages of a set by their ids, without very long ones."""
    return {
        row["id"]: Passage(row["id"], row["title"], row["text"], row["lang"], split_of(row["title"]))
        for row in _json(folder / "corpus.jsonl")
        if len(row["text"]) < 6000
    }


def questions_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The questions of a set by the id of the passage that they were asked about."""
    asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for question in _json(folder / "questions.jsonl"):
        place = question["evidence"][0]["doc"] if question["evidence"] else question.get("paired_doc", "")
        asked[place].append(question)
    return asked


def _of_set(folder: Path, rng: random.Random) -> Iterator[LabelledSentence]:
    passages, asked = passages_of(folder), questions_of(folder)
    by_article: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages.values():
        by_article[passage.article].append(passage)
    for passage in passages.values():
        index = EvidenceIndex([evidence_of(passage)])
        if not index.sentences:
            continue
        yield from _of_questions(passage, index, asked.get(passage.id, []), rng)
        yield from _of_sentences(passage, index, by_article[passage.article], rng)


# ------------------------------------------------------------------------------------------------ from questions


def _of_questions(
    passage: Passage, index: EvidenceIndex, questions: Sequence[dict[str, Any]], rng: random.Random
) -> Iterator[LabelledSentence]:
    answers = [q["answers"][0] for q in questions if q["answerable"] and q["answers"]]
    for question in questions:
        if "annotations" in (question["evidence"] or [{}])[0] or (passage.id.startswith("cq-") and question["evidence"]):
            yield from _of_long_answers(passage, index, question, rng)
            continue
        if passage.lang != "en":
            continue
        right = question["answers"][0] if question["answerable"] and question["answers"] else ""
        if right and (statement := stated(question["question"], right)):
            gold = question["evidence"][0]["text"] or right
            yield from _supported(passage, index, statement, gold, "statement", rng)
        wrong = [
            answer for answer in answers if content_keys(answer) and not set(content_keys(answer)) & set(content_keys(right))
        ]
        same = [answer for answer in wrong if _kind(answer) == _kind(right)] or wrong
        if same and (statement := stated(question["question"], rng.choice(same))):
            kind = "other answer" if right else "unanswerable"
            yield from _unsupported(passage, index, statement, kind)


def _of_long_answers(
    passage: Passage, index: EvidenceIndex, question: dict[str, Any], rng: random.Random
) -> Iterator[LabelledSentence]:
    """Sentences that people wrote from marked evidence."""
    marked = [item["text"] for item in question["evidence"] if item["text"] and item["doc"] == passage.id]
    for answer in question["answers"]:
        for sentence in split_sentences(answer, passage.lang):
            span = span_of(index, sentence.text)
            if span and any(span in text or text in span for text in marked) and not same_words(sentence.text, span):
                yield from _supported(passage, index, sentence.text, span, "written", rng)


# ------------------------------------------------------------------------------------------------ from sentences


def _of_sentences(
    passage: Passage, index: EvidenceIndex, article: Sequence[Passage], rng: random.Random
) -> Iterator[LabelledSentence]:
    chosen = [one.quote.text for one in index.sentences if 6 <= len(content_keys(one.quote.text)) <= 40]
    for text in rng.sample(chosen, min(_SENTENCES_A_PASSAGE, len(chosen))):
        if shorter := without_aside(text, passage.lang):
            yield from _supported(passage, index, shorter, text, "shortened", rng)
        else:
            for kind, changed in changes(text, passage.text, passage.lang, rng):
                yield from _unsupported(passage, index, changed, kind)
    others = [other for other in article if other.id != passage.id]
    if others:
        other = rng.choice(others)
        pieces = [span.text for span in split_sentences(other.text, other.lang) if len(content_keys(span.text)) >= 5]
        for text in rng.sample(pieces, min(2, len(pieces))):
            if text not in passage.text:
                yield from _unsupported(passage, index, text, "other passage")


# ------------------------------------------------------------------------------------------------ rows


def _supported(
    passage: Passage, index: EvidenceIndex, sentence: str, gold: str, kind: str, rng: random.Random
) -> Iterator[LabelledSentence]:
    """The sentence as a supported row, with its corruptions, where the chosen span holds the evidence."""
    span = span_of(index, sentence)
    if not span or not (gold in span or span in gold) or same_words(sentence, span):
        return
    row = LabelledSentence(sentence, span, True, kind, passage.lang, passage.article, passage.split)
    yield row
    for change, changed in changes(sentence, passage.text, passage.lang, rng):
        if not same_words(changed, sentence):
            yield replace(row, sentence=changed, supported=False, kind=f"{change}")


def _unsupported(passage: Passage, index: EvidenceIndex, sentence: str, kind: str) -> Iterator[LabelledSentence]:
    span = span_of(index, sentence)
    if span and not same_words(sentence, span):
        yield LabelledSentence(sentence, span, False, kind, passage.lang, passage.article, passage.split)


def span_of(index: EvidenceIndex, sentence: str) -> str:
    quotes = index.attribute(sentence).quotes
    return quotes[0].text if quotes else ""


def _kind(answer: str) -> str:
    return "number" if numbers(answer) else "name" if answer[:1].isupper() else "words"


def evidence_of(passage: Passage) -> Evidence:
    hit = Hit(
        1, 1.0, passage.text, passage.id, passage.article, None, "", 0, len(passage.text), passage.id, passage.id, ("dense",),
        passage.lang,
    )  # fmt: skip
    return Evidence(1, hit, True)


def _json(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
