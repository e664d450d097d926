"""From ranked passages to the evidence that is offered to the model: no passage twice, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import regex

from ckllm.contracts import Evidence, Hit

SAME_WORDS = 0.9
"""Share of the smaller passage's words that must stand in the other for it to count as a repetition."""
LEAST_PART = 200
"""Characters that a first passage too long for the prompt is cut to at the least."""

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")

Fits = Callable[[Sequence[Hit]], bool]
"""Whether a prompt with these passages stays within the budget."""


def distinct(hits: Sequence[Hit], most: int) -> list[Hit]:
    """The best `most` hits, in order, without repetitions and without spans that mostly overlap a better one's."""
    kept: list[Hit] = []
    words: list[frozenset[str]] = []
    for hit in hits:
        if len(kept) == most:
            break
        these = frozenset(word.casefold() for word in _WORD.findall(hit.text))
        if not any(_overlaps(hit, other) or _repeats(these, there) for other, there in zip(kept, words, strict=True)):
            kept.append(hit)
            words.append(these)
    return kept


def pack(hits: Sequence[Hit], fits: Fits, others: Sequence[Hit] = ()) -> tuple[Evidence, ...]:
    """The ledger: passages in the prompt first, markers from 1, then those that found no room, then `others`, which seek none.

    Better passages go first; one that is too long is passed over for a shorter one behind it. Where not even the best fits, its
    beginning is used.
    """
    chosen: list[Hit] = []
    left: list[Hit] = []
    for hit in hits:
        (chosen if fits([*chosen, hit]) else left).append(hit)
    if not chosen and left and (part := _beginning(left[0], fits)):
        chosen, left = [part], left[1:]
    return tuple(Evidence(marker, hit, marker <= len(chosen)) for marker, hit in enumerate([*chosen, *left, *others], start=1))


def ledger(hits: Sequence[Hit]) -> tuple[Evidence, ...]:
    """Evidence of which nothing went into a prompt."""
    return tuple(Evidence(marker, hit, False) for marker, hit in enumerate(hits, start=1))


def _beginning(hit: Hit, fits: Fits) -> Hit | None:
    """The longest beginning of a passage that fits, cut at white space; still the exact slice of its document."""
    low, high = 0, len(hit.text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits([_cut(hit, middle)]) else (low, middle)
    if low < LEAST_PART:
        return None
    space = hit.text.rfind(" ", 0, low)
    return _cut(hit, space if space >= LEAST_PART else low)


def _cut(hit: Hit, length: int) -> Hit:
    return replace(hit, end=hit.start + length, text=hit.text[:length])


def _overlaps(one: Hit, other: Hit) -> bool:
    if (one.document_id, one.version_id) != (other.document_id, other.version_id):
        return False
    shared = min(one.end, other.end) - max(one.start, other.start)
    return shared > min(one.end - one.start, other.end - other.start) / 2


def _repeats(one: frozenset[str], other: frozenset[str]) -> bool:
    smaller = min(len(one), len(other))
    return bool(smaller) and len(one & other) >= SAME_WORDS * smaller and smaller >= SAME_WORDS * max(len(one), len(other)) / 2
