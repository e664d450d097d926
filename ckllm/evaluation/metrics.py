"""Measures of retrieval, citations, answers and refusals, as pure functions; every formula names its source.

A passage "holds" an evidence item where it lies in the item's document and shares a character with its span; `held[r]` is the
set of the numbers of the evidence items that the passage at rank r + 1 holds.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import regex

Spans: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""Document → spans in it, start inclusive, end exclusive; they may overlap."""
Mode: TypeAlias = Literal["any", "all", "graded", "none"]
"""Whether one evidence item is enough, all belong together, they are graded documents, or there is none."""
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}\p{N}]+")
_ARTICLES = frozenset({"a", "an", "the"})


# ------------------------------------------------------------------------------------------------ answers


def words(text: str) -> list[str]:
    """Folded words without signs and English articles (Rajpurkar et al. 2016); Chinese, Japanese and Thai by the character."""
    return [word for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()) if word not in _ARTICLES]


def exact_match(text: str, answers: Iterable[str]) -> float:
    """1 where the words equal those of an answer, else 0 (Rajpurkar et al. 2016)."""
    said = words(text)
    return float(any(said == words(answer) for answer in answers))


def token_f1(text: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the words (Rajpurkar et al. 2016)."""
    said, meant = words(text), words(answer)
    if not said or not meant:
        return float(said == meant)
    return 2 * sum((Counter(said) & Counter(meant)).values()) / (len(said) + len(meant))


def best_f1(text: str, answers: Iterable[str]) -> float:
    """The best token F1 over alternative answers; 0 without any."""
    return max((token_f1(text, answer) for answer in answers), default=0.0)


# ------------------------------------------------------------------------------------------------ retrieval


def recall_at(held: Sequence[AbstractSet[int]], items: int, k: int, mode: Mode) -> float:
    """Mode any: whether one of the first k passages holds an item; all and graded: share of the items that they hold."""
    found = set().union(*held[:k])
    if mode == "any":
        return float(bool(found))
    return len(found) / items if items else 0.0


def reciprocal_rank(held: Sequence[AbstractSet[int]]) -> float:
    """1 / rank of the first passage that holds an item, 0 where none does (Voorhees 1999)."""
    return next((1 / rank for rank, found in enumerate(held, start=1) if found), 0.0)


def ndcg_at(held: Sequence[AbstractSet[int]], grades: Sequence[float], k: int, mode: Mode) -> float:
    """Σ grade / log2(rank + 1), over that of the best order (Järvelin & Kekäläinen 2002).

    An item counts once, at the first passage that holds it; in mode any, the first item found stands for all.
    """
    if not grades:
        return 0.0
    seen: set[int] = set()
    total = 0.0
    for rank, found in enumerate(held[:k], start=1):
        new = set(found) - seen
        if mode == "any":
            new = new if not seen else set()
        seen |= new
        gained = max((grades[n] for n in new), default=0.0) if mode == "any" else sum(grades[n] for n in new)
        total += gained / math.log2(rank + 1)
    order = sorted(grades, reverse=True)[: 1 if mode == "any" else k]
    best = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(order, start=1))
    return min(1.0, total / best) if best else 0.0


# ------------------------------------------------------------------------------------------------ citations


def character_overlap(cited: Spans, evidence: Spans) -> tuple[float, float]:
    """(precision, recall): share of cited characters that are evidence, share of evidence characters that are cited.

    The character-level form of the token measures of chunking (Smith & Troynikov 2024). Nothing cited: precision 0.
    """
    both = sum(_shared(_union(spans), _union(evidence.get(doc, ()))) for doc, spans in cited.items())
    given = sum(_length(_union(spans)) for spans in cited.values())
    needed = sum(_length(_union(spans)) for spans in evidence.values())
    return (both / given if given else 0.0), (both / needed if needed else 0.0)


def span_overlap(cited: Sequence[tuple[str, int, int]], evidence: Sequence[tuple[str, int, int]]) -> tuple[float, float]:
    """(precision, recall) by whole spans: citations that touch evidence, evidence that a citation touches (ALCE, Gao 2023)."""
    hit = sum(any(touches(one, other) for other in evidence) for one in cited)
    found = sum(any(touches(one, other) for other in cited) for one in evidence)
    return (hit / len(cited) if cited else 0.0), (found / len(evidence) if evidence else 0.0)


def touches(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    """Whether two spans (document, start, end) share a character."""
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def _union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Disjoint spans in order."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _shared(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> int:
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in one for b in other)


def _length(spans: Sequence[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


# ------------------------------------------------------------------------------------------------ refusal


def balanced_accuracy(answerable: Sequence[bool], refused: Sequence[bool]) -> float | None:
    """Mean of the share of answerable questions answered and of unanswerable ones refused; None where a kind is missing."""
    kept = [not r for a, r in zip(answerable, refused, strict=True) if a]
    turned = [r for a, r in zip(answerable, refused, strict=True) if not a]
    return (sum(kept) / len(kept) + sum(turned) / len(turned)) / 2 if kept and turned else None


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Risk among the questions that are answered when only the surest are, for every coverage."""

    points: tuple[tuple[float, float], ...]
    """(coverage, mean risk), coverage rising; questions of equal confidence enter together."""
    area: float
    """Mean risk over the questions' coverages (AURC, Geifman & El-Yaniv 2017), equal ones in any order; 0 is best."""


def risk_coverage(confidence: Sequence[float], risk: Sequence[float]) -> RiskCoverage:
    """The curve of selective answering. `risk` is 0 for a right answer and 1 for a wrong one."""
    equal: dict[float, list[float]] = {}
    for sure, wrong in zip(confidence, risk, strict=True):
        equal.setdefault(sure, []).append(wrong)
    points: list[tuple[float, float]] = []
    count, total, area = 0, 0.0, 0.0
    for _, risks in sorted(equal.items(), reverse=True):
        mean = sum(risks) / len(risks)
        for _ in risks:
            count, total = count + 1, total + mean
            area += total / count
        points.append((count / len(risk), total / count))
    return RiskCoverage(tuple(points), area / len(risk) if risk else 0.0)


# ------------------------------------------------------------------------------------------------ summaries


def mean(values: Iterable[float | None]) -> float | None:
    """Of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the values do not exceed, interpolated (type 7, Hyndman & Fan 1996)."""
    return float(np.quantile(values, share)) if values else None


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the second of two runs is, over the rows that both have."""

    rows: int
    mean: float
    low: float
    """Of the 95 % interval."""
    high: float


def paired_bootstrap(before: Sequence[float], after: Sequence[float], rounds: int = 2000, seed: int = 0) -> Difference:
    """Mean of after - before with its percentile interval over resampled rows (Efron & Tibshirani 1993; Koehn 2004)."""
    apart = np.asarray(after, float) - np.asarray(before, float)
    if not len(apart):
        return Difference(0, 0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    means = np.array([apart[rng.integers(len(apart), size=len(apart))].mean() for _ in range(rounds)])
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(len(apart), float(apart.mean()), float(low), float(high))
