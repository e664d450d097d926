"""Every measure against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from ckllm.evaluation import metrics
from ckllm.evaluation.metrics import best_f1, exact_match, paired_bootstrap, risk_coverage, token_f1


def test_words_are_compared_as_words() -> None:
    assert exact_match("The  Bridge!", ["bridge"]) == 1
    assert exact_match("bridges", ["bridge"]) == 0
    assert best_f1("the old stone bridge", ["stone bridge"]) == pytest.approx(0.8)  # precision 2/3, recall 1
    assert best_f1("नमस्ते दुनिया", ["नमस्ते"]) == pytest.approx(2 / 3)
    assert token_f1("东京塔", "东京") == pytest.approx(0.8)
    assert best_f1("x y", ["z", "y"]) == pytest.approx(2 / 3)
    assert token_f1("a a b", "a b b") == pytest.approx(2 / 3)  # "a" is an article: b against b b
    assert token_f1("c c b", "c b b") == pytest.approx(2 / 3)  # one c and one b in common, of three each
    assert best_f1("", ["x"]) == 0
    assert best_f1("x", []) == 0


def test_recall() -> None:
    held: list[set[int]] = [set(), {0}, {0, 2}, set(), {1}]
    assert [metrics.recall_at(held, 3, k, "any") for k in (1, 2, 5)] == [0, 1, 1]
    assert [metrics.recall_at(held, 3, k, "all") for k in (1, 2, 3, 5)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert metrics.recall_at(held, 4, 10, "graded") == 0.75
    assert metrics.recall_at([], 2, 5, "any") == 0


def test_reciprocal_rank() -> None:
    assert metrics.reciprocal_rank([set(), set(), {1}, {0}]) == pytest.approx(1 / 3)
    assert metrics.reciprocal_rank([set()]) == 0


def test_ndcg_of_graded_documents() -> None:
    """Grades 3, 1 and 2; found at ranks 2, 1 and 4: (1 + 3/log2 3 + 2/log2 5) over (3 + 2/log2 3 + 1/2)."""
    held = [{1}, {0}, set(), {2}]
    expected = (1 + 3 / math.log2(3) + 2 / math.log2(5)) / (3 + 2 / math.log2(3) + 1 / math.log2(4))
    assert metrics.ndcg_at(held, [3, 1, 2], 10, "graded") == pytest.approx(expected)
    assert metrics.ndcg_at([{0}, {2}, {1}], [3, 1, 2], 10, "graded") == pytest.approx(1)
    assert metrics.ndcg_at(held, [3, 1, 2], 1, "graded") == pytest.approx(1 / 3)


def test_ndcg_counts_an_item_once() -> None:
    assert metrics.ndcg_at([{0}, {0}, {0}], [1, 1], 10, "all") == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert metrics.ndcg_at([set(), {0}, {1}], [1, 1], 10, "any") == pytest.approx(1 / math.log2(3))
    assert metrics.ndcg_at([{1}], [1, 1], 10, "any") == 1
    assert metrics.ndcg_at([{0}], [], 10, "any") == 0


def test_character_overlap() -> None:
    """Cited 0–10 and 5–20 of a (20 characters) and 0–10 of b; evidence 15–25 of a: 5 of 30 cited, 5 of 10 evidence."""
    cited = {"a": [(0, 10), (5, 20)], "b": [(0, 10)]}
    assert metrics.character_overlap(cited, {"a": [(15, 25)]}) == pytest.approx((5 / 30, 0.5))
    assert metrics.character_overlap({}, {"a": [(0, 5)]}) == (0, 0)
    assert metrics.character_overlap({"a": [(0, 5)]}, {"a": [(0, 3), (2, 5)]}) == (1, 1)
    assert metrics.character_overlap({"b": [(0, 5)]}, {"a": [(0, 5)]}) == (0, 0)


def test_span_overlap() -> None:
    evidence = [("a", 10, 20), ("a", 30, 40), ("b", 0, 5)]
    assert metrics.span_overlap([("a", 15, 16), ("a", 20, 30)], evidence) == pytest.approx((0.5, 1 / 3))
    assert metrics.span_overlap([], evidence) == (0, 0)
    assert not metrics.touches(("a", 0, 10), ("a", 10, 20))


def test_balanced_accuracy() -> None:
    """Of four answerable ones three are answered, of two others one is refused: (0.75 + 0.5) / 2."""
    answerable = [True, True, True, True, False, False]
    refused = [False, False, False, True, True, False]
    assert metrics.balanced_accuracy(answerable, refused) == pytest.approx(0.625)
    assert metrics.balanced_accuracy([True], [False]) is None


def test_risk_coverage() -> None:
    """Right, wrong, right, wrong from the surest down: risks 0, 1/2, 1/3, 1/2."""
    found = risk_coverage([0.9, 0.8, 0.7, 0.1], [0, 1, 0, 1])
    assert [x for x, _ in found.points] == [0.25, 0.5, 0.75, 1]
    assert [y for _, y in found.points] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    tied = risk_coverage([0.5, 0.5], [0, 1])
    assert tied.points == ((1.0, 0.5),)
    assert tied.area == risk_coverage([0.5, 0.5], [1, 0]).area == 0.5  # not on the order of the questions
    assert risk_coverage([], []).points == ()


def test_quantiles() -> None:
    assert metrics.quantile([1, 2, 3, 4], 0.5) == 2.5
    assert metrics.quantile([1, 2, 3, 4, 5], 0.95) == pytest.approx(4.8)
    assert metrics.quantile([], 0.5) is None
    assert metrics.mean([1.0, None, 2.0]) == 1.5
    assert metrics.mean([None]) is None


def test_bootstrap_tells_chance_from_change() -> None:
    same = paired_bootstrap([0, 1] * 20, [1, 0] * 20)
    assert (same.mean, same.rows) == (0, 40)
    assert same.low < 0 < same.high
    better = paired_bootstrap([0.0] * 30, [0.5] * 30)
    assert (better.mean, better.low, better.high) == (0.5, 0.5, 0.5)
    mixed = paired_bootstrap([0] * 100, [1] * 60 + [0] * 40)
    # The standard error of a share of 0.6 over 100 is 0.049; the interval is about two of it to each side.
    assert mixed.low == pytest.approx(0.6 - 1.96 * 0.049, abs=0.02)
    assert mixed.high == pytest.approx(0.6 + 1.96 * 0.049, abs=0.02)
    assert paired_bootstrap([], []).rows == 0
    assert paired_bootstrap([0, 1, 1], [1, 1, 0], seed=3) == paired_bootstrap([0, 1, 1], [1, 1, 0], seed=3)
