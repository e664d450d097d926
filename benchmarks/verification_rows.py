"""Sentences with the span that they cite and whether it supports them, made from evaluation sets by rule.

Supported: statements made of a question and its answer, answers that people wrote from marked evidence, evidence sentences that
lose an aside. Not supported: the same with one thing changed (number, name, order of names, negation, quantifier, unit, month, a
word), statements with another answer of the passage, statements from questions that the passage does not answer, and sentences
of other passages of the article. The span is chosen as in an answer, by :class:`ckllm.citations.attribution.EvidenceIndex`;
a supported sentence whose span does not hold the evidence is left out, since nobody knows its label.
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

import regex

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.sentences import split_sentences
from ckllm.citations.terms import content_keys
from ckllm.citations.verification import names, numbers
from ckllm.contracts import Evidence, Hit

Split = Literal["train", "validation", "test"]
LANGUAGES = ("en", "de", "es", "hi", "ru", "zh", "ar")
_SENTENCES_A_PASSAGE = 4
_BE = "is|are|was|were|can|could|will|would|has|have|had|may|must|should"
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_QUANTIFIERS = {
    "all": "some", "every": "no", "most": "few", "only": "also", "first": "last", "last": "first", "largest": "smallest",
    "smallest": "largest", "more": "less", "less": "more", "always": "never", "both": "neither",
    "before": "after", "after": "before",
    "increased": "decreased", "higher": "lower", "north": "south", "east": "west", "many": "few",
}  # fmt: skip
_UNITS = {
    "percent": "million", "km": "miles", "miles": "km", "metres": "feet", "feet": "metres", "million": "billion",
    "billion": "million",
    "years": "days", "days": "years", "months": "years", "hours": "days", "%": " million",
}  # fmt: skip
_AUXILIARY = regex.compile(r"\b(?:is|are|was|were|can|could|will|would|has|have|had|did|does)\b")
_NEGATION = {
    "de": ("ist", "ist nicht"), "es": ("es", "no es"), "hi": ("है", "नहीं है"), "ru": ("был", "не был"), "zh": ("是", "不是"),
    "ar": ("كان", "ما كان"),
}  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    article: str
    text: str
    lang: str
    split: Split


def split_of(article: str) -> Split:
    """By the article's title, the same in every set and language: 60 % train, 15 % validation, 25 % test."""
    share = int(hashlib.sha256(article.encode()).hexdigest()[:8], 16) % 100
    return "train" if share < 60 else "validation" if share < 75 else "test"


def rows(folder: Path, seed: int = 0) -> list[LabelledSentence]:
    """All rows of `folder`, which holds squad2, xquad, clapnq and tydiqa; the same for the same seed."""
    rng = random.Random(seed)
    sets = ["squad2", "clapnq", "tydiqa/en", *(f"xquad/{lang}" for lang in LANGUAGES)]
    found = [row for name in sets for row in _of_set(folder / name, rng)]
    return list(dict.fromkeys(found))


def digest(made: Sequence[LabelledSentence]) -> str:
    """Of the rows that were used, in order."""
    return hashlib.sha256("\n".join(json.dumps([r.sentence, r.span, r.supported]) for r in made).encode()).hexdigest()


def _of_set(folder: Path, rng: random.Random) -> Iterator[LabelledSentence]:
    passages = {
        row["id"]: Passage(row["id"], row["title"], row["text"], row["lang"], split_of(row["title"]))
        for row in _json(folder / "corpus.jsonl")
        if len(row["text"]) < 6000
    }
    by_article: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages.values():
        by_article[passage.article].append(passage)
    asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for question in _json(folder / "questions.jsonl"):
        place = question["evidence"][0]["doc"] if question["evidence"] else question.get("paired_doc", "")
        asked[place].append(question)
    for passage in passages.values():
        index = EvidenceIndex([_evidence(passage)])
        if not index.sentences:
            continue
        yield from _of_questions(passage, index, asked[passage.id], rng)
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


def stated(question: str, answer: str) -> str:
    """A question with its answer as a statement; "" where the rules do not reach. Not all of them are good sentences."""
    text = regex.sub(r"\s+", " ", question).strip().rstrip("?").strip()
    answer = answer.strip().rstrip(".")
    who = regex.match(r"(?:Who|What|Which \w+) ((?!did|do|does|is|are|was|were)\w+(?:ed|s|t|e|d) .+)$", text)
    if who:
        return _sentence(f"{answer} {who[1]}")
    passive = regex.match(rf"(?:Who|What) ({_BE}) (\w+(?:ed|n|t|de|lt)\b.*)$", text)
    if passive:
        return _sentence(f"{answer} {passive[1]} {passive[2]}")
    by = regex.match(
        r"(?:By|From|To|In|On|At|With|For) (?:who|whom|what|which \w+|what \w+) (is|are|was|were) (.+) (\p{Ll}+(?:ed|n|t))$", text
    )
    if by:
        return _sentence(f"{by[2]} {by[1]} {by[3]} {text.split()[0].lower()} {answer}")
    when = regex.match(r"(?:When|In (?:what|which) year) (is|was|were|are) (.+?) (\w+(?:ed|n|t|lt))( .*)?$", text)
    if when:
        return _sentence(f"{when[2]} {when[1]} {when[3]}{when[4] or ''} in {answer}")
    many = regex.match(r"How (?:many|much) (.+?) ((?:are|is|was|were|has|have|had|died|live|lived)\b.*)$", text)
    if many:
        return _sentence(f"{answer} {many[1]} {many[2]}")
    what = regex.match(r"(?:What|Who) (is|was|are|were) (the .+|\p{Lu}.+)$", text)
    if what:
        return _sentence(f"{what[2]} {what[1]} {answer}")
    return ""


def _of_long_answers(
    passage: Passage, index: EvidenceIndex, question: dict[str, Any], rng: random.Random
) -> Iterator[LabelledSentence]:
    """Sentences that people wrote from marked evidence."""
    marked = [item["text"] for item in question["evidence"] if item["text"] and item["doc"] == passage.id]
    for answer in question["answers"]:
        for sentence in split_sentences(answer, passage.lang):
            span = _span(index, sentence.text)
            if span and any(span in text or text in span for text in marked) and not _same(sentence.text, span):
                yield from _supported(passage, index, sentence.text, span, "written", rng)


# ------------------------------------------------------------------------------------------------ from sentences


def _of_sentences(
    passage: Passage, index: EvidenceIndex, article: Sequence[Passage], rng: random.Random
) -> Iterator[LabelledSentence]:
    chosen = [one.quote.text for one in index.sentences if 6 <= len(content_keys(one.quote.text)) <= 40]
    for text in rng.sample(chosen, min(_SENTENCES_A_PASSAGE, len(chosen))):
        if shorter := _without_aside(text, passage.lang):
            yield from _supported(passage, index, shorter, text, "shortened", rng)
        else:
            for kind, changed in _changes(text, passage, rng):
                yield from _unsupported(passage, index, changed, kind)
    others = [other for other in article if other.id != passage.id]
    if others:
        other = rng.choice(others)
        pieces = [span.text for span in split_sentences(other.text, other.lang) if len(content_keys(span.text)) >= 5]
        for text in rng.sample(pieces, min(2, len(pieces))):
            if text not in passage.text:
                yield from _unsupported(passage, index, text, "other passage")


def _without_aside(text: str, lang: str) -> str:
    """The sentence without a parenthesis, or without a short beginning before its first comma."""
    plain = regex.sub(r"\s*[(（][^()（）]*[)）]", "", text)
    if plain == text and lang in ("en", "de", "es"):
        begin = regex.match(
            r"(?:In|On|At|By|During|After|However|Also|Im|Am|En|A|Por|Sin embargo)\b[^,]{0,40}, (\p{L}.{30,})$", text
        )
        plain = begin[1][0].upper() + begin[1][1:] if begin else text
    if plain == text and lang == "en":
        plain = regex.sub(r",? (?:which|who|where|although|while|whereas)\b[^,.]*\.$", ".", text)
    return plain if plain != text and len(content_keys(plain)) >= 4 else ""


def _changes(text: str, passage: Passage, rng: random.Random) -> Iterator[tuple[str, str]]:
    """The sentence with one thing changed, as (kind, text); each kind at most once."""
    own = sorted(numbers(text))
    if own:
        old = rng.choice(own)
        elsewhere = sorted(numbers(passage.text) - set(own))
        new = rng.choice(elsewhere) if elsewhere else str(int(regex.sub(r"\D", "", old)) + rng.randint(1, 9))
        yield "number", text.replace(old, new, 1)
        if len(own) > 1:
            one, two = rng.sample(own, 2)
            yield "numbers swapped", _swapped(text, one, two)
    found = list(dict.fromkeys(name for name in names(text) if len(name) > 2))
    if found:
        strangers = sorted({name for name in names(passage.text) if name not in text and len(name) > 2})
        if strangers:
            yield "name", text.replace(rng.choice(found), rng.choice(strangers), 1)
        if len(found) > 1:
            yield "names swapped", _swapped(text, *rng.sample(found, 2))
    yield from _words_changed(text, passage, rng)


def _words_changed(text: str, passage: Passage, rng: random.Random) -> Iterator[tuple[str, str]]:
    if passage.lang == "en" and (verb := _AUXILIARY.search(text)):
        yield "negation", f"{text[: verb.end()]} not{text[verb.end() :]}"
    elif passage.lang in _NEGATION:
        old, new = _NEGATION[passage.lang]
        if passage.lang == "zh" and old in text:
            yield "negation", text.replace(old, new, 1)
        elif f" {old} " in text or text.endswith(f" {old}।"):
            yield "negation", text.replace(f" {old}", f" {new}", 1)
    for kind, table in (
        ("quantifier", _QUANTIFIERS),
        ("unit", _UNITS),
        ("month", dict(zip(_MONTHS, _MONTHS[3:] + _MONTHS[:3], strict=True))),
    ):
        for old, new in table.items():
            pattern = regex.compile(rf"(?<!\p{{L}}){regex.escape(old)}(?!\p{{L}})")
            if pattern.search(text) and (kind != "month" or _NUMBERED.search(text)):
                yield kind, pattern.sub(new, text, count=1)
                break
    words = [word for word in regex.findall(r"(?<=\s)\p{Ll}[\p{Ll}\p{M}]{4,}(?=[\s,.])", text) if content_keys(word)]
    strangers = sorted(set(regex.findall(r"(?<=\s)\p{Ll}[\p{Ll}\p{M}]{4,}(?=[\s,.])", passage.text)) - set(words))
    if words and strangers:
        yield "word", text.replace(f" {rng.choice(words)}", f" {rng.choice(strangers)}", 1)


_NUMBERED = regex.compile(r"\d")


def _swapped(text: str, one: str, two: str) -> str:
    return text.replace(one, "\0").replace(two, one).replace("\0", two)


# ------------------------------------------------------------------------------------------------ rows


def _supported(
    passage: Passage, index: EvidenceIndex, sentence: str, gold: str, kind: str, rng: random.Random
) -> Iterator[LabelledSentence]:
    """The sentence as a supported row, with its corruptions, where the chosen span holds the evidence."""
    span = _span(index, sentence)
    if not span or not (gold in span or span in gold) or _same(sentence, span):
        return
    row = LabelledSentence(sentence, span, True, kind, passage.lang, passage.article, passage.split)
    yield row
    for change, changed in _changes(sentence, passage, rng):
        if not _same(changed, sentence):
            yield replace(row, sentence=changed, supported=False, kind=f"{change}")


def _unsupported(passage: Passage, index: EvidenceIndex, sentence: str, kind: str) -> Iterator[LabelledSentence]:
    span = _span(index, sentence)
    if span and not _same(sentence, span):
        yield LabelledSentence(sentence, span, False, kind, passage.lang, passage.article, passage.split)


def _span(index: EvidenceIndex, sentence: str) -> str:
    quotes = index.attribute(sentence).quotes
    return quotes[0].text if quotes else ""


def _same(one: str, other: str) -> bool:
    return content_keys(one) == content_keys(other) and len(regex.findall(r"\w+", one)) == len(regex.findall(r"\w+", other))


def _kind(answer: str) -> str:
    return "number" if numbers(answer) else "name" if answer[:1].isupper() else "words"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _evidence(passage: Passage) -> Evidence:
    hit = Hit(
        1, 1.0, passage.text, passage.id, passage.article, None, "", 0, len(passage.text), passage.id, passage.id, ("dense",),
        passage.lang,
    )  # fmt: skip
    return Evidence(1, hit, True)


def _json(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
