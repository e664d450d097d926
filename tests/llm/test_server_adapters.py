"""What vLLM's and llama.cpp's servers are sent for an expert: the exact bytes that matter, against a server that only records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import UpstreamError, UsageError
from ckllm.llm.openai_compatible import OpenAiCompatibleLLM
from ckllm.store.memory import MemoryStore
from tests.knowledge import add
from tests.llm.server import FakeServer

LISTED = [
    {"id": 0, "path": "/adapters/qa.gguf", "scale": 0.0},
    {"id": 1, "path": "/adapters/contracts.gguf", "scale": 0.0},
]


@pytest.fixture
def llm(server: FakeServer) -> Iterator[OpenAiCompatibleLLM]:
    with OpenAiCompatibleLLM(server.url, "small", timeout_s=10.0, attempts=2) as client:
        yield client


@pytest.fixture
def numbered(server: FakeServer) -> Iterator[FakeServer]:
    server.numbered = LISTED
    yield server
    server.numbered = None


def test_vllm_is_asked_for_the_adapter_as_a_model(server: FakeServer, llm: OpenAiCompatibleLLM) -> None:
    llm.run("hello", adapters={"sailing-adapter": 1.0})
    assert server.bodies[-1]["model"] == "sailing-adapter"
    assert "lora" not in server.bodies[-1]


def test_llama_cpp_is_sent_a_scale_for_each_adapter(numbered: FakeServer, llm: OpenAiCompatibleLLM) -> None:
    llm.run("hello", adapters={"contracts": 1.0})
    assert numbered.bodies[-1]["model"] == "small"
    assert numbered.bodies[-1]["lora"] == [{"id": 1, "scale": 1.0}]
    llm.run("hello", adapters={"qa": 0.25, "contracts": 0.75})
    assert numbered.bodies[-1]["lora"] == [{"id": 0, "scale": 0.25}, {"id": 1, "scale": 0.75}]
    llm.run("hello")
    assert "lora" not in numbered.bodies[-1]


def test_an_adapter_that_the_server_lacks_is_named(numbered: FakeServer, llm: OpenAiCompatibleLLM) -> None:
    asked = len(numbered.bodies)
    with pytest.raises(UsageError, match=r"no adapter 'poems' .it has contracts, qa, sailing-adapter, small"):
        llm.run("hello", adapters={"poems": 1.0})
    assert len(numbered.bodies) == asked, "nothing is generated with the wrong model"


def test_an_adapter_that_was_loaded_later_is_found(numbered: FakeServer, llm: OpenAiCompatibleLLM) -> None:
    llm.run("hello", adapters={"qa": 1.0})
    numbered.numbered = [*LISTED, {"id": 2, "path": "/adapters/poems.gguf", "scale": 0.0}]
    llm.run("hello", adapters={"poems": 1.0})
    assert numbered.bodies[-1]["lora"] == [{"id": 2, "scale": 1.0}]


def test_a_server_that_was_started_again_may_count_its_adapters_otherwise(numbered: FakeServer, llm: OpenAiCompatibleLLM) -> None:
    llm.run("hello", adapters={"qa": 1.0})
    numbered.numbered = [{**LISTED[1], "id": 0}, {**LISTED[0], "id": 1}]
    llm.run("hello", adapters={"qa": 1.0})
    assert numbered.bodies[-1]["lora"] == [{"id": 1, "scale": 1.0}]


@pytest.mark.parametrize("listed", [{"error": "no"}, [1, {"id": "x"}, {"id": True, "path": 3}]])
def test_a_strange_listing_offers_nothing(server: FakeServer, llm: OpenAiCompatibleLLM, listed: object) -> None:
    server.numbered = listed  # type: ignore[assignment]
    try:
        with pytest.raises(UsageError, match="no adapter 'qa'"):
            llm.run("hello", adapters={"qa": 1.0})
    finally:
        server.numbered = None


def test_a_server_that_is_down_is_said_so() -> None:
    with OpenAiCompatibleLLM("http://127.0.0.1:9/v1", "small", attempts=1) as llm, pytest.raises(UpstreamError, match="adapters"):
        llm.run("hello", adapters={"qa": 1.0})


def test_a_question_reaches_the_expert_at_the_server(numbered: FakeServer, tmp_path: Path) -> None:
    values = {"llm.base_url": numbered.url, "llm.model": "smollm2-135m-instruct", "answer.caution": "open"}
    settings = load_settings(tmp_path, overrides=values, environment={})
    with open_knowledge_base(settings=settings, replacements=Replacements(MemoryStore(), HashingEmbedder())) as kb:
        add(kb, "bridge.txt", "The bridge at Wend was opened in 1931. It is 412 metres long.")
        kb.ask("When was the bridge at Wend opened?", expert="qa")
        assert numbered.bodies[-1]["lora"] == [{"id": 0, "scale": 1.0}]
        kb.ask("When was the bridge at Wend opened?", expert="base")
        assert "lora" not in numbered.bodies[-1]
