"""How likely it is that a quote supports a sentence, by a small trained model over how their words lie to each other.

Boosted trees (Friedman 2001) as plain numbers in `support.json`, which also says what they were trained on, with figures.
The features compare the order of words, not only which there are: a word put in the place of another, names that have changed
places and words that are only left out look alike to a share of words, and mean different things.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

from ckllm.citations.terms import Term, terms

FEATURES = (
    "held", "ordered", "missing", "replaced", "inserted", "moved", "used", "pairs", "all_ordered", "names_moved", "numbers_moved",
    "close", "words", "first", "last", "skipped", "longest_run",
)  # fmt: skip
_PREFIX = 4
"""Letters that two words must share to count as forms of one."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes by number, the root first: `feature[n]` is compared with `threshold[n]`, below it goes `left[n]`, else `right[n]`; a
    leaf has feature -1 and a `value`."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def leaf(self, row: Sequence[float]) -> float:
        node = 0
        while self.feature[node] >= 0:
            node = self.left[node] if row[self.feature[node]] <= self.threshold[node] else self.right[node]
        return self.value[node]


class SupportModel:
    """Probability that a quote supports a sentence, calibrated on articles that the trees were not trained on."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        if tuple(described["features"]) != FEATURES:
            raise ValueError(f"support.json knows the features {described['features']}, this version computes {FEATURES}")
        self._start = float(described["start"])
        self._trees = [Tree(**{key: tuple(values) for key, values in tree.items()}) for tree in described["trees"]]
        self._slope, self._offset = (float(value) for value in described["calibration"])
        self.threshold = float(described["threshold"])
        """The probability from which a sentence counts as supported."""

    def raw(self, row: Sequence[float]) -> float:
        """Log-odds before calibration."""
        return self._start + sum(tree.leaf(row) for tree in self._trees)

    def probability(self, sentence: str, evidence: str) -> float:
        """0 to 1."""
        odds = self._slope * self.raw(features(sentence, evidence)) + self._offset
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


@lru_cache(maxsize=1)
def shipped() -> SupportModel:
    """The model that comes with the package."""
    text = resources.files("ckllm.citations").joinpath("support.json").read_text(encoding="utf-8")
    return SupportModel(json.loads(text))


def features(sentence: str, evidence: str) -> tuple[float, ...]:
    """Numbers in the order of `FEATURES`; counts are of content words unless said otherwise."""
    all_said, all_there = terms(sentence), terms(evidence)
    said, there = [t for t in all_said if t.content], [t for t in all_there if t.content]
    if not said or not there:
        return (0.0,) * len(FEATURES)
    mine, other = [t.key for t in said], [t.key for t in there]
    pairs = _alignment(mine, other)
    known, used = set(other), set(mine)
    replaced, inserted, skipped = _gaps(pairs, len(mine), len(other))
    missing = [key for key in mine if key not in known]
    held = len(mine) - len(missing)
    neighbours = set(pairwise(other))
    everything = _alignment([t.key for t in all_said], [t.key for t in all_there])
    return (
        held / len(mine),
        len(pairs) / len(mine),
        float(len(missing)),
        float(replaced),
        float(inserted),
        float(held - len(pairs)),
        sum(key in used for key in other) / len(other),
        sum(pair in neighbours for pair in pairwise(mine)) / max(1, len(mine) - 1),
        len(everything) / len(all_said),
        float(_moved(_marked(sentence, said, str.isupper), _marked(evidence, there, str.isupper))),
        float(_moved(_marked(sentence, said, str.isdigit), _marked(evidence, there, str.isdigit))),
        sum(any(key[:_PREFIX] == one[:_PREFIX] for one in known) for key in missing) / max(1, len(missing)),
        float(len(mine)),
        float(mine[0] in known),
        float(mine[-1] in known),
        float(skipped),
        _longest_run(pairs) / len(mine),
    )


def _marked(text: str, words: Sequence[Term], is_marked: Any) -> list[str]:
    """Keys of the words whose first character is marked: a capital, a digit."""
    return [word.key for word in words if is_marked(text[word.start])]


def _moved(mine: Sequence[str], other: Sequence[str]) -> int:
    """How many of the words that both have stand in another order."""
    both = set(mine) & set(other)
    left, right = [key for key in mine if key in both], [key for key in other if key in both]
    return len(left) - len(_alignment(left, right))


def _gaps(pairs: Sequence[tuple[int, int]], mine: int, other: int) -> tuple[int, int, int]:
    """Words that stand where the evidence has other ones, words where it has none, and words of the evidence left out between."""
    replaced = inserted = skipped = 0
    bounds = [(-1, -1), *pairs, (mine, other)]
    for number, ((a, b), (c, d)) in enumerate(pairwise(bounds)):
        here, there = c - a - 1, d - b - 1
        inner = 0 < number < len(bounds) - 2
        replaced += min(here, there)
        inserted += max(0, here - there)
        skipped += max(0, there - here) if inner else 0
    return replaced, inserted, skipped


def _alignment(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """A longest common subsequence as pairs of places, O(len(left) · len(right))."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        row, below = table[i], table[i + 1]
        key = left[i]
        for j in range(len(right) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if key == right[j] else max(below[j], row[j + 1])
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif table[i + 1][j] >= table[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _longest_run(pairs: Sequence[tuple[int, int]]) -> int:
    longest = run = 0
    before: tuple[int, int] | None = None
    for pair in pairs:
        run = run + 1 if before is not None and pair == (before[0] + 1, before[1] + 1) else 1
        longest, before = max(longest, run), pair
    return longest
