"""A reader for tests that needs no model: it looks for the question's words, and takes what is written large for an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ckllm.contracts import Hit
from ckllm.reader.base import Reading

_WORD = re.compile(r"[\w-]+")
_SENTENCE = re.compile(r"[^.]+\.?")


class WordReader:
    """A sentence bears on the question by the share of the question's words that it holds; its answer is its first word with a
    capital or a digit that the question does not have. Remembers the passages that it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def read(self, question: str, hits: Sequence[Hit]) -> list[Reading]:
        self.given += [hit.text for hit in hits]
        return [_reading(set(map(str.lower, _WORD.findall(question))), hit.text) for hit in hits]


def _reading(wanted: set[str], text: str) -> Reading:
    offsets, answers, bearing = [], [], []
    for sentence in _SENTENCE.finditer(text):
        words = [(m.group(), sentence.start() + m.start(), sentence.start() + m.end()) for m in _WORD.finditer(sentence.group())]
        share = len({word.lower() for word, _, _ in words} & wanted) / len(wanted)
        for number, (word, start, end) in enumerate(words):
            marked = word[0].isdigit() or (word[0].isupper() and number > 0)
            offsets.append((start, end))
            answers.append(4 * share if marked and word.lower() not in wanted else -4.0)
            bearing.append(6 * share - 3)
    logits = np.array(answers, np.float32)
    return Reading(np.array(offsets, np.int64).reshape(-1, 2), logits, logits, np.array(bearing, np.float32), 2.0)
