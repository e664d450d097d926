"""Words as verification sees them: case-folded, compatibility-normalised, loosely stemmed; CJK as single characters.

The stem is only a prefix: support is decided by the share of words that match, so a stemmer that is a little too greedy costs
little, and one rule serves every alphabetic script.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import regex

_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
    r"|\p{N}+(?:[.,٫٬]\p{N}+)*|[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*"
)
_POSSESSIVE = regex.compile(r"['’]s?$")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FUNCTION_WORDS = _set(
    # English
    "a an the of in on at to for from by with as and or but is are was were be been being has have had do does did "
    "it its this that these those they them their he she his her him we us our you your i me my there here which "
    "who whom whose what when where why how than then so such also into onto over under about between through "
    "during after before will would can could may might shall should must "
    # German
    "der die das den dem des ein eine einer eines einem einen und oder in im am an auf zu zum zur von vom mit für "
    "ist sind war waren wird werden wurde wurden hat haben es er sie wir ihr als auch bei nach aus um über wie was "
    "wer wo wann warum welche welcher welches "
    # French
    "le la les un une des du de et ou en au aux dans sur par pour avec est sont était étaient a ont il elle ils "
    "elles ce cette ces qui que quoi dont où quand comment pourquoi quel quelle "
    # Spanish
    "el los las una unos unas y o del al con por para es son fue fueron era eran ha han lo su sus se que qué quién "
    "cuál cuándo dónde cómo como "
    # Portuguese and Italian
    "os um uma e do da dos das em na nos nas com foi il gli i di che "
    # Hindi
    "का के की को में से पर है हैं था थे थी ने और यह वह एक भी हो गया गई गए कि जो किस क्या कौन कब कहाँ "
    # Chinese and Japanese
    "的 了 在 是 和 与 及 は が を に で と の も "
)


@dataclass(frozen=True, slots=True)
class Term:
    """A word at its place: `key` is what is compared, `start` and `end` are offsets into the text."""

    key: str
    start: int
    end: int
    content: bool
    """False for words that say nothing by themselves, such as articles and auxiliaries."""


def terms(text: str) -> list[Term]:
    """The words of `text` in order."""
    return [_term(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]


def content_keys(text: str) -> list[str]:
    """Keys of the content words of `text`, in order, repetitions kept."""
    return [term.key for term in terms(text) if term.content]


def _term(word: str, start: int, end: int) -> Term:
    key, content = _key(word)
    return Term(key, start, end, content)


@lru_cache(maxsize=65536)
def _key(word: str) -> tuple[str, bool]:
    folded = _POSSESSIVE.sub("", unicodedata.normalize("NFKC", word).casefold())
    if folded in _FUNCTION_WORDS:
        return folded, False
    return folded if not folded.isalpha() or not folded.isascii() else _stem(folded), True


_ENDINGS = (
    ("ational", 4), ("ization", 4), ("ments", 4), ("ment", 4), ("ings", 4), ("ing", 3),
    ("ies", 3), ("ied", 3), ("es", 4), ("ed", 3), ("ly", 4), ("s", 3),
)  # fmt: skip
"""Ending → letters that must be left before it."""


def _stem(word: str) -> str:
    """English inflection taken off, roughly (after the first steps of Porter 1980)."""
    for ending, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending in ("ies", "ied") else "")
            break
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word
