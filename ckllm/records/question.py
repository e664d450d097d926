"""Is this a question that rows can answer, and what is to be done with them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from ckllm.records.parts import longest
from ckllm.records.vocabulary import LANGUAGES, Language, Operation
from ckllm.records.words import Word, words

MOST_WORDS = 40
"""Of a question; longer ones say more than rows can answer."""
EXTREMES = ("minimum", "maximum")
_OTHERWISE = regex.compile(
    r"\b(?:not|no|none|never|neither|nor|without|except\w*|exclu\w+|besides|but|lack\w*|unless|other|others)\b|n['’]t\b"
    r"|\b(?:nicht|kein\w*|ohne|au(?:ß|ss)er|weder|nie|niemals|ander(?:e[nrms]?|n)|übrigen?)\b"
    r"|\b(?:sin|except[oa]|salvo|menos|ni|ning[uú]n\w*|nunca|otr[oa]s?|demás)\b"
    r"|\b(?:pas|sans|sauf|hormis|aucun\w*|non|ni|jamais|autres?)\b"
    r"|(?<!\p{L})(?:नहीं|नही|न|बिना|अलावा|सिवाय|छोड़कर|अन्य)(?![\p{L}\p{M}])",
    regex.IGNORECASE,
)
"""Negations and exclusions. Conditions here only include, so whatever excludes is not for rows to answer."""
_SIGNED = regex.compile(r"(?:^|[\s(])[-−–+±]\s?\p{Nd}")
_MEANING = regex.compile(r"\bdo(?:es)?\b.*\bmean\b|\bwhat\s+is\s+meant\b", regex.IGNORECASE)
_PERSON = regex.compile(r"^\W*(?:who|whose|wer|wessen|qui|quién(?:es)?|कौन)\b", regex.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """`rest` are the places of the words that say what is counted, without those that say that it is."""

    text: str
    lang: str
    language: Language
    operation: Operation
    extreme: Operation | None
    """Of a "which": the one with the lowest or the highest value is asked for."""
    which: bool
    words: tuple[Word, ...]
    rest: tuple[int, ...]


def recognised(text: str) -> Question | None:
    """The question in the language that most of its words belong to; None where it asks for nothing of the kind."""
    if len(text) > 1000 or any(one.search(text) for one in (_OTHERWISE, _SIGNED, _MEANING)):
        return None
    best: tuple[int, Question] | None = None
    for lang, language in LANGUAGES.items():
        asked = words(text, (lang,))
        if len(asked) > MOST_WORDS:
            return None
        question = _in(text, asked, lang, language)
        known = sum(_known(asked, place, language) for place in range(len(asked)))
        if question and (best is None or known > best[0]):
            best = known, question
    if best and best[1].operation != "list" and _PERSON.search(text):
        return None  # a name is asked for, not a number
    return best[1] if best else None


def _in(text: str, asked: Sequence[Word], lang: str, language: Language) -> Question | None:
    found: list[tuple[Operation, int, int]] = []
    place = 0
    while place < len(asked):
        length = longest(asked, place, language.triggers)
        operation = language.triggers[tuple(word.key for word in asked[place : place + length])] if length else None
        leading = all(longest(asked, before, language.function) for before in range(place)) and place <= 3
        if operation is None or (operation == "list" and (not leading or any(one == "list" for one, _, _ in found))):
            place += 1
            continue
        found.append((operation, place, length))
        place += length
    operations = [operation for operation, _, _ in found]
    used = {at for _, start, length in found for at in range(start, start + length)}
    rest = tuple(at for at in range(len(asked)) if at not in used)
    extremes = [one for one in operations if one in EXTREMES]
    if not rest or not operations or len(set(operations)) != len(operations):
        return None
    if len(operations) == 1:
        which = operations[0] == "list" and not _imperative(asked, found[0])
        return Question(text, lang, language, operations[0], None, which, tuple(asked), rest)
    if operations[0] == "list" and len(operations) == 2 and extremes:
        return Question(text, lang, language, "list", extremes[0], True, tuple(asked), rest)
    return None


_IMPERATIVES = frozenset(word for one in LANGUAGES.values() for word in one.imperatives)


def _imperative(asked: Sequence[Word], trigger: tuple[Operation, int, int]) -> bool:
    return asked[trigger[1]].key in _IMPERATIVES


def _known(asked: Sequence[Word], place: int, language: Language) -> bool:
    return any(longest(asked, place, phrases) for phrases in (language.function, language.triggers, language.comparisons))
