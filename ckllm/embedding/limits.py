"""What happens to texts that are too long, and what a changed prefix means: the same for every embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckllm.contracts import digest
from ckllm.errors import DataError


def refuse_long_passages(counts: Sequence[int], limit: int, name: str) -> None:
    """Raises DataError for the first passage above `limit` tokens: a passage cut in silence would lose its end."""
    for index, count in enumerate(counts):
        if count > limit:
            raise DataError(f"passage {index} has {count} tokens, {name} takes {limit}: cut it into smaller pieces")


def cut_to_limit(text: str, limit: int, count: Callable[[str], int]) -> str:
    """The longest beginning of `text` of at most `limit` tokens, found by bisection."""
    if count(text) <= limit:
        return text
    fits, fails = 0, len(text)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if count(text[:middle]) <= limit:
            fits = middle
        else:
            fails = middle
    return text[:fits]


def identity(model: str, passage_prefix: str | None) -> str:
    """An embedder's name. A passage prefix that the user sets makes other vectors, and so another name; one for questions
    can be changed without indexing anew."""
    return model if passage_prefix is None else f"{model}+{digest(passage_prefix, size=4)}"
