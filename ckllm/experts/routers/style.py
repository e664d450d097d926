"""How a question is written, in a few numbers: what embeddings are trained to ignore, and hashed n-grams see only in pieces.

An examination question, a search, a command and a text problem differ in length, case, signs, digits and first word, whatever
their subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

FIRST_WORDS = ("what", "which", "who", "whom", "whose", "when", "where", "why", "how")
LONGEST = 4_000
"""Characters of a question that are looked at."""
_PERSONAL = regex.compile(r"(?i)(?<!\S)(?:i|my|me|you|your)(?!\S)")
_SIGN = regex.compile(r"[^\w\s]")
_SIGNS = frozenset("(){}[]=<>+*/_")


def style(texts: Sequence[str]) -> NDArray[np.float32]:
    """(questions, STYLES) raw values: lengths as logarithms, shares of characters, and 0 or 1."""
    rows = [_style(text[:LONGEST]) for text in texts]
    return np.array(rows, np.float32).reshape(len(rows), STYLES)


def _style(text: str) -> list[float]:
    words, count, end, lower = text.split(), max(1, len(text)), text.rstrip()[-1:], text.lower()
    first = words[0].lower().strip(".,?") if words else ""
    return [
        math.log1p(len(text)), math.log1p(len(words)),
        float("\n" in text), float(end == "?"), float(end == ":"), float(end == "."),
        float(text[:1].isupper()), float(text == lower),
        sum(c.isupper() for c in text) / count, sum(c.isdigit() for c in text) / count,
        sum(c in _SIGNS for c in text) / count, sum(c in ",;" for c in text) / count,
        float("_" in text), float("$" in text),
        sum(c > "\x7f" for c in text) / count, sum(c > "\u0250" for c in text) / count,
        float(_PERSONAL.search(text) is not None), float(_SIGN.search(text) is not None),
        float("which of the following" in lower),
        *(float(first == word) for word in FIRST_WORDS),
    ]  # fmt: skip


STYLES = len(_style(""))
