"""A tiny Llama with random weights, and questions of three made-up subjects."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ckllm.experts.base import BASE
from ckllm.experts.routers.training import RouterRow

WORDS = {
    "gardens": ["soil", "rose", "prune", "compost", "seed", "bloom", "hedge", "water", "leaf", "root", "spade", "bulb"],
    "sailing": ["mast", "rope", "harbour", "tide", "anchor", "wind", "deck", "knot", "keel", "buoy", "sail", "crew"],
    "baking": ["flour", "oven", "yeast", "dough", "crust", "butter", "sugar", "knead", "loaf", "crumb", "tin", "glaze"],
}
ELSEWHERE = ["planet", "orbit", "comet", "galaxy", "lens", "telescope", "rocket", "crater", "moon", "probe", "star", "dust"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Threads that wait for each other cost more than such small matrices."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def router_rows() -> list[RouterRow]:
    rng = random.Random(3)
    rows = [
        RouterRow(f"how does the {' '.join(rng.sample(words, 4))} work", name) for name, words in WORDS.items() for _ in range(24)
    ]
    return rows + [RouterRow(f"how does the {' '.join(rng.sample(ELSEWHERE, 4))} work", BASE) for _ in range(20)]


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, initializer_range=0.3, eos_token_id=1, bos_token_id=0, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class CharacterTokenizer:
    """Letters as token ids, roles as one letter each: enough of a tokenizer to see what is learned."""

    eos_token = "\x01"

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        text = "".join(f"{turn['role'][0]}:{turn['content']};" for turn in conversation)
        return text + "a:" if options.get("add_generation_prompt") else text

    def encode(self, text: str, **options: Any) -> list[int]:
        return [1 if letter == "\x01" else 3 + ord(letter) % 61 for letter in text]


@pytest.fixture
def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer()
