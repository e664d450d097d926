"""Mixtures of adapters on a real engine: exact, each request its own, nothing left behind, from the question to the answer."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Done, Message, Routed, Token
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import UsageError
from ckllm.experts.routers.training import RouterRow, train_router
from ckllm.experts.table import open_registry, router_folder
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.base import GenerationRequest
from ckllm.llm.transformers import TransformersLLM
from ckllm.store.memory import MemoryStore
from ckllm.workshop import open_expert
from tests.experts.models import random_adapter, whole_model
from tests.knowledge import add

TEXT = "The bridge at Wend was opened in 1931. It is 412 metres long."
QUESTION = "The bridge at Wend was opened in 1931?"
ASKED = (Message("user", "Name three colours."),)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("adapters")
    base = whole_model(place / "model", "chatml", 11, spread=0.2)
    return {"model": base, "a": random_adapter(base, place / "a", 1), "b": random_adapter(base, place / "b", 2)}


@pytest.fixture(scope="module")
def llm(folders: dict[str, Path]) -> Iterator[TransformersLLM]:
    with TransformersLLM(str(folders["model"]), max_tokens=6, device="cpu") as opened:
        yield opened


@pytest.fixture
def kb(folders: dict[str, Path], llm: TransformersLLM, tmp_path: Path) -> KnowledgeBase:
    experts = [{"name": name, "adapter": str(folders[name])} for name in "ab"]
    experts.append({"name": "whole", "model": "some/model"})
    values = {"experts": experts, "answer.caution": "open", "answer.max_tokens": 6, "llm.model": str(folders["model"])}
    settings = load_settings(tmp_path, overrides=values, environment={})
    opened = open_knowledge_base(settings=settings, replacements=Replacements(MemoryStore(), HashingEmbedder(), llm))
    add(opened, "bridge.txt", TEXT)
    return opened


def draft(kb: KnowledgeBase, expert: str, **options: int) -> tuple[str, dict[str, float]]:
    """What the model wrote, unchecked, and the weights of the route."""
    text, weights = "", {}
    for event in kb.stream(QUESTION, expert=expert, **options):  # type: ignore[arg-type]  # options of one type here
        if isinstance(event, Token):
            text += event.text
        elif isinstance(event, Routed):
            weights = dict(event.route.weights)
        elif isinstance(event, Done):
            assert event.answer.evidence
            assert not event.answer.refused
    return text, weights


def test_a_question_is_answered_by_the_mixture_that_was_named(kb: KnowledgeBase) -> None:
    both, weights = draft(kb, "a,b")
    assert weights == {"a": 0.5, "b": 0.5}
    alone = {name: draft(kb, name)[0] for name in ("base", "a", "b")}
    assert len({both, *alone.values()}) == 4
    assert draft(kb, "a:3,b:1")[1] == {"a": 0.75, "b": 0.25}
    assert draft(kb, "a,b")[0] == both
    assert draft(kb, "base")[0] == alone["base"]


def test_the_nearest_experts_answer_together(kb: KnowledgeBase) -> None:
    """Questions that were labelled now with the one, now with the other: both answer, by their probabilities."""
    words = ["bridge", "metres", "long", "stone", "arch", "opened", "Wend", "ferry", "river", "tide"]
    rows = [RouterRow(f"the {word} and the {other}", label) for word in words for other in words[:4] for label in "ab"]
    train_router(rows, HashingEmbedder(), router_folder(kb.settings))
    one, first = draft(kb, "auto")
    assert list(first.values()) == [1.0]
    assert one == draft(kb, next(iter(first)))[0]
    both, weights = draft(kb, "auto", top_experts=2)
    assert set(weights) == {"a", "b"}
    assert sum(weights.values()) == pytest.approx(1, abs=1e-5)
    assert both == draft(kb, ",".join(f"{name}:{weight}" for name, weight in weights.items()))[0]


def test_what_cannot_be_mixed_is_refused(kb: KnowledgeBase) -> None:
    for expert, complaint in (("a,nobody", "nobody"), ("a,base", "base"), ("a,a", "each once"), ("whole", "model of its own")):
        with pytest.raises(UsageError, match=complaint):
            kb.ask(QUESTION, expert=expert)


def test_a_mixture_is_the_dense_weighted_sum(folders: dict[str, Path]) -> None:
    """Logits equal those of a model whose weights were changed by the weighted sum itself, to 1e-5 of their size."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def opened() -> torch.nn.Module:
        model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(folders["model"], dtype=torch.float32)
        return model

    original = opened().state_dict()
    summed = {name: value.double() for name, value in original.items()}
    for name, weight in (("a", 0.3), ("b", 0.7)):
        merged = PeftModel.from_pretrained(opened(), folders[name]).merge_and_unload().state_dict()
        for key in summed:
            summed[key] = summed[key] + weight * (merged[key].double() - original[key].double())
    dense = opened()
    dense.load_state_dict({key: value.float() for key, value in summed.items()})
    dense.eval()
    ids = torch.arange(40).unsqueeze(0)
    with TransformersLLM(str(folders["model"]), device="cpu") as llm, torch.inference_mode():
        expected = dense(ids).logits
        with llm._turn({str(folders["a"]): 0.3, str(folders["b"]): 0.7}):
            found = llm._model(ids).logits
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_a_thousand_mixtures_leave_nothing_behind(folders: dict[str, Path], llm: TransformersLLM) -> None:
    mixtures = [{str(folders["a"]): w, str(folders["b"]): 1 - w} for w in (0.25, 0.5, 0.75)]
    mixtures += [{}, {str(folders["a"]): 1.0}, {str(folders["b"]): 1.0}]
    requests = [GenerationRequest(messages=ASKED, max_tokens=2, adapters=one) for one in mixtures]

    def ask(request: GenerationRequest) -> str:
        with llm.generate_stream(request) as stream:
            return stream.text()

    before = [ask(one) for one in requests * 5][:6]
    parameters = sum(1 for _ in llm._model.parameters())
    gc.collect()
    memory = psutil.Process().memory_info().rss
    for number in range(1000):
        ask(requests[number % 6])
    gc.collect()
    assert psutil.Process().memory_info().rss - memory < 20_000_000
    assert sum(1 for _ in llm._model.parameters()) == parameters
    assert len(llm._model.peft_config) == 2
    assert [ask(one) for one in requests] == before


def test_requests_at_the_same_time_do_not_see_each_other(folders: dict[str, Path], llm: TransformersLLM) -> None:
    mixtures = [{}, {str(folders["a"]): 1.0}, {str(folders["b"]): 1.0}, {str(folders["a"]): 0.4, str(folders["b"]): 0.6}]
    expected = [llm.run(list(ASKED), adapters=one, max_tokens=12) for one in mixtures]
    assert len(set(expected)) == 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: llm.run(list(ASKED), adapters=mixtures[n % 4], max_tokens=12), range(40)))
    assert found == [expected[n % 4] for n in range(40)]


def test_an_expert_can_be_opened_as_a_model(kb: KnowledgeBase, llm: TransformersLLM, folders: dict[str, Path]) -> None:
    """What `benchmark --expert` scores: likelihoods and answers are the expert's."""
    before = llm.loglikelihood("The tide", [" rises", " falls"])
    for expert, weights in (("a", {"a": 1.0}), ("a:3,b:1", {"a": 0.75, "b": 0.25})):
        adapters = {str(folders[name]): weight for name, weight in weights.items()}
        with open_expert(kb.settings, expert) as opened:
            found = opened.loglikelihood("The tide", [" rises", " falls"])
            assert opened.run(list(ASKED), max_tokens=6) == llm.run(list(ASKED), adapters=adapters)
        assert found[0].logprob != pytest.approx(before[0].logprob, abs=1e-3)
    with open_expert(kb.settings, "base") as opened:
        assert opened.loglikelihood("The tide", [" rises"])[0].logprob == pytest.approx(before[0].logprob, abs=1e-4)
    with pytest.raises(UsageError, match="nobody"):
        open_expert(kb.settings, "nobody")


def test_the_registry_of_the_settings_is_what_serves(kb: KnowledgeBase, folders: dict[str, Path]) -> None:
    assert {one.name for one in open_registry(kb.settings) if one.origin == "configured"} == {"a", "b", "whole"}
