"""Question and passage as one input of the reader, and the way back from its tokens to the passage's characters.

As Devlin et al. 2019 for reading comprehension: `<s> question </s></s> title, passage </s>`. A place that the passage does not
answer is the first token.
"""

from __future__ import annotations

from dataclasses import dataclass

from ckllm.embedding.tokens import Tokens

MOST_TOKENS = 512
"""Positions that the encoder has."""
LONGEST_QUESTION = 64
LONGEST_TITLE = 24
_START, _END = 0, 2
"""Ids of the first token and of the one between and behind the texts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`ids[first:first + len(offsets)]` are the passage's tokens, each for the characters `offsets`; what did not fit is cut."""

    ids: list[int]
    first: int
    offsets: list[tuple[int, int]]


def pair(question: Tokens, title: Tokens, passage: Tokens) -> Pair:
    # of a longer question the end, where people ask after they have told, and where a follow-up stands
    head = [_START, *question.ids[-LONGEST_QUESTION:], _END, _END, *title.ids[:LONGEST_TITLE]]
    kept = MOST_TOKENS - len(head) - 1
    return Pair([*head, *passage.ids[:kept], _END], len(head), passage.offsets[:kept])
