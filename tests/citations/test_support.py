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
