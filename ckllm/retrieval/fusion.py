"""Joining rankings. Pure functions over scores by chunk id.

Reciprocal rank fusion (Cormack, Clarke & Büttcher 2009) needs ranks only. A sum of standardised scores (z-scores, as in Lee
1997's comparison of combinations) keeps how much better one passage is than the next, and finds more here: see
docs/decisions.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

RANK_CONSTANT = 60
"""k of the paper, which found it good over all its collections."""


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], constant: int = RANK_CONSTANT) -> dict[str, float]:
    """Σ 1 / (constant + rank) over the rankings that hold an id; ranks count from 1. Best first."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (constant + rank)
    return best_first(scores)


def standardised(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores with mean 0 and standard deviation 1; all 0 where they do not differ."""
    if not scores:
        return {}
    mean = math.fsum(scores.values()) / len(scores)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scores.values()) / len(scores))
    return {key: (value - mean) / deviation if deviation > 1e-9 else 0.0 for key, value in scores.items()}


def standardised_sum(parts: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Weighted sum of z-scores over `(weight, scores)`; every part holds the same ids. Best first."""
    totals: dict[str, float] = {}
    for weight, scores in parts:
        for key, value in standardised(scores).items():
            totals[key] = totals.get(key, 0.0) + weight * value
    return best_first(totals)


def best_first(scores: Mapping[str, float]) -> dict[str, float]:
    """By score, best first; ties by id, so that the order does not depend on who came first."""
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
