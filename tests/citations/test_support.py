from __future__ import annotations

import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.citations.support import FEATURES, SupportModel, features, shipped
from ckllm.citations.verification import TrainedVerifier
from ckllm.contracts import Quote

EVIDENCE = (
    "The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1932 and spans 1,204 m over the river,"
    " but it does not carry trains."
)


def support(sentence: str, evidence: str = EVIDENCE) -> tuple[bool, float]:
    verdict = TrainedVerifier().verify([sentence], [[Quote(1, 0, len(evidence), evidence)]])[0]
    return verdict.supported, verdict.support


@pytest.mark.parametrize(
    "sentence",
    [
        EVIDENCE,
        "The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1932.",
        "The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1932 and spans 1,204 m over the river.",
    ],
)
def test_what_the_quote_says_is_supported(sentence: str) -> None:
    supported, score = support(sentence)
    assert supported, score


@pytest.mark.parametrize(
    "sentence",
    [
        "The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1934.",
        "The Kestrel bridge was painted by Mayor Ada Brandt on 3 May 1932.",
        "The Brandt bridge was opened by Mayor Ada Kestrel on 3 May 1932.",
        "The Kestrel bridge was not opened by Mayor Ada Brandt on 3 May 1932.",
        "The Kestrel tower was opened by Mayor Ada Brandt on 3 May 1932.",
        "Cheese is made from milk.",
        "",
    ],
)
def test_one_thing_changed_is_one_too_many(sentence: str) -> None:
    supported, score = support(sentence)
    assert not supported
    assert score < shipped().threshold


def test_a_broken_rule_is_a_veto_however_sure_the_model_is() -> None:
    assert (
        support("The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1932 and spans 1,204 km over the river.")[0] is False
    )


def test_the_trees_see_what_they_were_trained_to_see() -> None:
    """Counted by hand: another way of counting would make the shipped trees wrong without a word."""
    said = "Ada Brandt painted the bridgelike Kestrel bridge in 1932 and 1930."
    there = "The Kestrel bridge, opened by Ada Brandt in 1930, was painted in 1932."
    assert dict(zip(FEATURES, features(said, there), strict=True)) == pytest.approx(
        {
            "words": 8,
            "held": 7 / 8,  # all but "bridgelike"
            "missing": 1,
            "close": 1,  # which begins like "bridge"
            "ordered": 4 / 8,  # Ada, Brandt, painted, 1932
            "moved": 3,  # Kestrel, bridge, 1930
            "replaced": 0,
            "inserted": 4,  # bridgelike, Kestrel, bridge; 1930
            "skipped": 1,  # 1930, between Brandt and painted
            "used": 7 / 8,  # all but "opened"
            "pairs": 2 / 7,  # Ada Brandt, Kestrel bridge
            "all_ordered": 5 / 11,  # with "in"
            "names_moved": 1,
            "numbers_moved": 1,
            "first": 1,
            "last": 1,
            "longest_run": 2 / 8,  # Ada Brandt
        }
    )


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_pair_has_a_probability(sentence: str, evidence: str) -> None:
    assert len(features(sentence, evidence)) == len(FEATURES)
    assert 0 <= shipped().probability(sentence, evidence) <= 1


def test_the_card_says_what_it_was_trained_on_and_how_good_it_is() -> None:
    described = json.loads(resources.files("ckllm.citations").joinpath("support.json").read_text(encoding="utf-8"))
    card = described["card"]
    assert card["sets"]
    assert "CC BY-SA" in card["licences"]
    assert len(card["sha256_of_train_rows"]) == 64
    held_out = card["held_out"]
    assert held_out["trained"]["precision"] > held_out["rules"]["precision"]


def test_a_model_of_other_features_is_refused() -> None:
    described = json.loads(resources.files("ckllm.citations").joinpath("support.json").read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="features"):
        SupportModel({**described, "features": ["held"]})
