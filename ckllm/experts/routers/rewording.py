"""The same question as somebody else would type it: in small letters, without signs, with a greeting, in key words.

The trained router sees the forms of `REWORDINGS` of its examples, so that it does not hang on how they happened to be typed.
How often a route stays is measured with those of `MEASURED`, two of which no router was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import regex

_SIGNS = regex.compile(r"[^\w\s]")
_SMALL_WORDS = frozenset(["the", "a", "an", "of", "in", "is", "are", "was", "were", "to", "do", "does", "did"])
_LETTERS = regex.compile(r"\b(\w{2})(\w)(\w)(\w{2,})\b")
GREETING = "Hello, I have a question for you. "


def without_signs(text: str) -> str:
    return _SIGNS.sub(" ", text)


def with_greeting(text: str) -> str:
    return GREETING + text


def key_words(text: str) -> str:
    """Without articles, auxiliaries and the commonest prepositions of English; unchanged where nothing would be left."""
    return " ".join(word for word in text.split(" ") if word.lower() not in _SMALL_WORDS) or text


def polite(text: str) -> str:
    return f"Could you please help me with this: {text}"


def with_typing_errors(text: str) -> str:
    """Two letters change places in each of the first three words of six letters or more."""
    return _LETTERS.sub(r"\1\3\2\4", text, count=3)


REWORDINGS: tuple[Callable[[str], str], ...] = (str.lower, without_signs, with_greeting, key_words)
MEASURED: Mapping[str, Callable[[str], str]] = {
    "lower case": str.lower, "no punctuation": without_signs, "polite": polite, "typing errors": with_typing_errors,
}  # fmt: skip
