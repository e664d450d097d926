"""Words of questions, headers and cells, brought to one form: case, accents, digits of any script, inflection."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import regex

from ckllm.store.lexical import terms

Phrase: TypeAlias = tuple[str, ...]
"""Folded words in a row."""

_WORD = regex.compile(
    r"(?P<number>\p{Nd}+(?:[.,:/\-\u00a0\u202f'’]\p{Nd}+)*)|(?P<word>[\p{L}\p{M}\u200c\u200d]+)|(?P<sign>[<>]=?|[≤≥=€$£¥₹%#])"
)
_ACCENTS = regex.compile(r"[\u0300-\u036f]")
_CAMEL = regex.compile(r"(?<=\p{Ll})(?=\p{Lu})")


@dataclass(frozen=True, slots=True)
class Word:
    """A word at its place; `key` is its folded form, `stems` what its inflected forms have in common."""

    text: str
    key: str
    start: int
    end: int
    stems: frozenset[str]
    is_number: bool = False


def folded(text: str) -> str:
    """Lower case without accents, compatibility-normalised, decimal digits of any script as ASCII."""
    if text.isascii():
        return text.lower()
    base = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in unicodedata.normalize("NFC", base)
    )


def words(text: str, langs: Sequence[str] = ()) -> list[Word]:
    """The words of `text` in order, stemmed under each of `langs`."""
    found = []
    for match in _WORD.finditer(text):
        key = folded(match.group())
        number = match.lastgroup == "number"
        stems = frozenset({key}) if number or match.lastgroup == "sign" else _stems(match.group(), key, tuple(langs))
        found.append(Word(match.group(), key, match.start(), match.end(), stems, number))
    return found


def phrase(text: str) -> Phrase:
    return tuple(folded(match.group()) for match in _WORD.finditer(text))


def phrases(text: str) -> list[Phrase]:
    """Phrases separated by commas."""
    return [made for part in text.split(",") if (made := phrase(part))]


def spaced(name: str) -> str:
    """`unitPrice` as `unit Price`: field names are words too."""
    return _CAMEL.sub(" ", name)


def matches(asked: Sequence[Word], named: Sequence[Word]) -> int:
    """2 where the words are the same in order, 1 where their stems are, 0 otherwise."""
    if len(asked) != len(named):
        return 0
    if all(one.key == other.key for one, other in zip(asked, named, strict=True)):
        return 2
    return int(all(one.stems & other.stems for one, other in zip(asked, named, strict=True)))


@lru_cache(maxsize=16384)
def _stems(text: str, key: str, langs: tuple[str, ...]) -> frozenset[str]:
    """With the stems of at least three letters: shorter ones join what is not related."""
    return frozenset({key} | {stem for lang in langs if len(stem := terms(text, lang)) > 2})
