"""One instance of every engine, opened once a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckllm.contracts import Message
from ckllm.llm.base import BaseLLM
from ckllm.llm.openai_compatible import OpenAiCompatibleLLM
from ckllm.llm.openvino import OpenVinoLLM
from ckllm.llm.scripted import Fault, ScriptedLLM
from ckllm.llm.table import openvino_folder
from tests.llm.server import FakeServer, answer_of


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine under the conformance suite, and what can be asked of it."""

    name: str
    llm: BaseLLM
    samples: bool = True
    """Whether a temperature changes the answer."""
    counts: bool = True
    """Whether it counts a prompt's tokens itself."""

    @property
    def active(self) -> int:
        return int(self.llm.active)


@pytest.fixture(scope="session")
def server() -> Iterator[FakeServer]:
    running = FakeServer()
    yield running
    running.close()


@pytest.fixture(scope="session")
def smollm2_folder(models_folder: Path) -> Path:
    """The bundled model's OpenVINO folder, with its tokenizer.json."""
    return openvino_folder(models_folder)


@pytest.fixture(scope="session")
def tiny_folder(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and the real tokenizer: fast, and it writes every kind of token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(smollm2_folder / name, folder / name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=64, intermediate_size=128,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=1024, initializer_range=0.5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert settings["model_type"] == "llama"
    return folder


@pytest.fixture(scope="session")
def openvino_llm(smollm2_folder: Path) -> Iterator[OpenVinoLLM]:
    with OpenVinoLLM(smollm2_folder, model_id="smollm2-135m-instruct", max_tokens=12) as llm:
        yield llm


@pytest.fixture(scope="session")
def tiny_llm(tiny_folder: Path) -> Iterator[BaseLLM]:
    from ckllm.llm.transformers import TransformersLLM

    with TransformersLLM(str(tiny_folder), max_tokens=12, device="cpu") as llm:
        yield llm


def _scripted() -> ScriptedLLM:
    def answer(messages: Sequence[Message]) -> str:
        return "".join(answer_of(messages[-1].content, 0.0, None))

    return ScriptedLLM(answer, fault=Fault(delay_s=0.002), max_tokens=12)


@pytest.fixture(scope="session", params=["scripted", "openai", "openvino", "transformers"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine in turn."""
    match request.param:
        case "scripted":
            yield Engine("scripted", _scripted(), samples=False)
        case "openai":
            server: FakeServer = request.getfixturevalue("server")
            with OpenAiCompatibleLLM(server.url, "small", timeout_s=5, max_tokens=12) as llm:
                yield Engine("openai", llm, counts=False)
        case "openvino":
            yield Engine("openvino", request.getfixturevalue("openvino_llm"))
        case _:
            yield Engine("transformers", request.getfixturevalue("tiny_llm"))
