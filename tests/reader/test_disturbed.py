"""Rows that the reader learns doubt from."""

from __future__ import annotations

import random

import pytest

from benchmarks.disturbed import disturbed, places

PASSAGES = (
    "The ferry house at Calder Point was opened in 1842. It was closed by Lord Marsh in 1911, when the largest bridge stood.",
    "A mill of Elmford was built by Anna Reed in 1888.",
)
PLACE = places(PASSAGES)[0]


def test_a_passage_knows_its_names_and_those_of_its_article() -> None:
    assert PLACE.names == {"Calder Point", "Lord Marsh"}
    assert PLACE.numbers == {"1842", "1911"}
    assert "Anna Reed" in PLACE.others_names
    assert PLACE.others_numbers == {"1888"}


@pytest.mark.parametrize("seed", range(40))
def test_one_thing_is_changed_and_the_answer_is_never_put_into_the_question(seed: int) -> None:
    question = "Who closed the ferry house at Calder Point in 1911?"
    changed = disturbed(question, PLACE, "Lord Marsh", random.Random(seed))
    assert changed is not None
    assert changed != question
    assert "Marsh" not in changed
    kept = set(question.split()) & set(changed.split())
    assert len(kept) >= len(question.split()) - 2  # a name of two words, at most


def test_the_ways() -> None:
    assert disturbed("which was the largest?", PLACE, "it", random.Random(0)) == "which was the smallest?"
    assert disturbed("What did he say?", PLACE, "so", random.Random(0)) == "What didn't he say?"
    assert disturbed("Why so?", PLACE, "so", random.Random(0)) is None
