"""The experts that ship: whole, and chosen by the wording of a question."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ckllm.config import load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.registry import SHIPPED, Registry, verify
from ckllm.experts.routers.wording import WORDINGS, WordingRouter
from ckllm.experts.table import open_router
from ckllm.file_hash import file_sha256

NAMES = Registry(Path("nowhere")).names


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_what_it_was_made_from_and_that_it_pays(name: str) -> None:
    expert = Registry(Path("nowhere")).get(name)
    card = expert.card
    verify(expert)
    assert card.base_model == "smollm2-135m-instruct"
    assert len(card.base_sha256) == 64
    assert card.licence
    assert card.description
    assert len(card.training["data_sha256"]) == 64
    assert card.training["rows"] > 100
    assert card.training["command"].startswith("python ")
    assert card.scores["expert"]["f1"] > card.scores["base"]["f1"]
    gains = [value for key, value in card.scores.items() if key.startswith("gain_")]
    if gains:
        assert all(gain["mean"] > 0 for gain in gains)
        assert any(gain["low"] > 0 for gain in gains)
        assert card.scores["rows"] >= 25


def test_a_shipped_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    name = NAMES[-1]
    (tmp_path / name).mkdir()
    for file in (SHIPPED / name).iterdir():
        (tmp_path / name / file.name).write_bytes(file.read_bytes())
    expert = Registry(Path("nowhere"), shipped=tmp_path).get(name)
    verify(expert)
    weights = tmp_path / name / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert file_sha256(weights) != expert.card.adapter_sha256
    with pytest.raises(DataError, match="SHA-256"):
        verify(expert)


# -- who answers while no router is trained

QUESTIONS = {
    "qa": (
        "When was the bridge opened?", "Why do leaves fall?", "Which is longer, the lake or the river?",
        "Who described the comet?", "How does the lock work?", "What does the treaty explain?", "",
    ),
    "explain": (
        "Explain how the lock works.", "Could you please describe the harbour?", "tell me about the mill",
        "How is glass blown, in detail?",
    ),
}  # fmt: skip


def test_the_wording_chooses_and_everything_else_is_for_the_default() -> None:
    router = WordingRouter("qa", tuple(WORDINGS))
    for expert, questions in QUESTIONS.items():
        routes = router.route([RouteRequest(question) for question in questions])
        assert [route.expert for route in routes] == [expert] * len(questions), questions
        assert all(route.weights == {expert: 1.0} and route.strategy == "default" and route.reason for route in routes)


def test_no_expert_is_chosen_that_does_not_ship() -> None:
    routes = WordingRouter("qa", ()).route([RouteRequest(one) for some in QUESTIONS.values() for one in some])
    assert {route.expert for route in routes} == {"qa"}


def test_a_question_that_is_made_to_be_slow_is_not() -> None:
    began = time.process_time()
    for hard in ("in more " * 3000, "please " * 3000, "could you " * 5000):
        WordingRouter("qa", tuple(WORDINGS)).route([RouteRequest(hard)])
    assert time.process_time() - began < 2


def test_the_settings_decide_the_default(tmp_path: Path) -> None:
    """A server may serve fewer adapters than ship, and another default is meant for every question."""
    asked = [RouteRequest("Explain the lock."), RouteRequest("When?")]
    chosen = {}
    for key, value in (("routing.default", "qa"), ("routing.default", "none"), ("llm.base_url", "http://127.0.0.1:9/v1")):
        settings = load_settings(home=tmp_path, environment={}, overrides={key: value})
        chosen[value] = [route.expert for route in open_router(settings, HashingEmbedder).route(asked)]
    assert chosen["none"] == [BASE] * 2
    assert chosen["http://127.0.0.1:9/v1"] == ["qa"] * 2
    assert chosen["qa"] == ["explain", "qa"]
