"""The same question as somebody else would type it: in small letters, without signs, with a greeting, in key words.

The trained router sees these forms of its examples, so that it does not hang on how they happened to be typed.
"""

from __future__ import annotations

from collections.abc import Callable

import regex

_SIGNS = regex.compile(r"[^\w\s]")
_SMALL_WORDS = frozenset(["the", "a", "an", "of", "in", "is", "are", "was", "were", "to", "do", "does", "did"])
GREETING = "Hello, I have a question for you. "


def without_signs(text: str) -> str:
    return _SIGNS.sub(" ", text)


def with_greeting(text: str) -> str:
    return GREETING + text


def key_words(text: str) -> str:
    """Without articles, auxiliaries and the commonest prepositions of English; unchanged where nothing would be left."""
    return " ".join(word for word in text.split(" ") if word.lower() not in _SMALL_WORDS) or text


REWORDINGS: tuple[Callable[[str], str], ...] = (str.lower, without_signs, with_greeting, key_words)
