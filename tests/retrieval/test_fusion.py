from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.retrieval.fusion import best_first, reciprocal_rank_fusion, standardised, standardised_sum


def test_reciprocal_rank_fusion_is_the_papers_formula() -> None:
    assert reciprocal_rank_fusion([["a", "b"], ["b"]]) == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61})
    assert list(reciprocal_rank_fusion([["a", "b"], ["b"]])) == ["b", "a"]


@given(st.dictionaries(st.text(max_size=3), st.floats(-1e6, 1e6), max_size=20))
def test_standardised_scores_have_mean_nought_and_deviation_one_or_nought(scores: dict[str, float]) -> None:
    values = list(standardised(scores).values())
    if values:
        assert sum(values) / len(values) == pytest.approx(0, abs=1e-6)
        deviation = (sum(value * value for value in values) / len(values)) ** 0.5
        assert deviation == pytest.approx(1, abs=1e-4) or deviation == 0


def test_a_weighted_sum_keeps_how_much_better_the_best_is() -> None:
    clear, narrow = {"a": 9.0, "b": 1.0, "c": 1.0}, {"a": 0.51, "b": 0.52, "c": 0.50}
    assert list(standardised_sum([(1.0, clear), (1.0, narrow)])) == ["a", "b", "c"]


def test_ties_are_broken_by_id() -> None:
    assert list(best_first({"b": 1.0, "a": 1.0, "c": 2.0})) == ["c", "a", "b"]
