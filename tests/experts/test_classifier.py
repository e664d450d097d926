"""A transformers sequence classifier as the router."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ckllm.config import load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError, UsageError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.routers.classifier import ClassifierRouter
from ckllm.experts.table import open_router

WORDS = ("bread", "oven", "flour", "sail", "mast", "tide", "moon", "star")
QUESTIONS = ("flour oven", "the tide and the mast of a sail", "moon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two small layers with three named classes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("classifier")
    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(place)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, initializer_range=0.5, id2label={0: "baking", 1: "sailing", 2: "out_of_scope"},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(place)
    return place


def test_a_classifier_routes_as_it_scores(folder: Path) -> None:
    router = ClassifierRouter(folder, 0.0)
    assert router.labels == ("baking", "sailing", BASE)
    table = router.probabilities(QUESTIONS)
    alone = np.concatenate([router.probabilities([question]) for question in QUESTIONS])
    np.testing.assert_allclose(table, alone, atol=1e-5)
    for route, row in zip(router.route([RouteRequest(question) for question in QUESTIONS]), table, strict=True):
        assert route.strategy == "classifier"
        assert route.expert == router.labels[int(row[:2].argmax())]
        assert route.confidence == pytest.approx(1 - row[2], abs=1e-5)
        assert route.scores["baking"] == pytest.approx(row[0], abs=1e-5)
    assert router.route([]) == []


def test_it_abstains_below_the_threshold_and_cuts_long_questions(folder: Path) -> None:
    (route,) = ClassifierRouter(folder, 1.0).route([RouteRequest("flour " * 500)])
    assert (route.expert, route.weights) == (BASE, {BASE: 1.0})
    assert "below 1.00" in route.reason


def test_the_settings_choose_it(folder: Path, tmp_path: Path) -> None:
    values = {"routing.strategy": "classifier", "routing.model": str(folder), "routing.threshold": 0.0}
    router = open_router(load_settings(tmp_path, overrides=values, environment={}), HashingEmbedder)
    automatic, named = router.route([RouteRequest("flour oven"), RouteRequest("flour oven", expert="sailing")])
    assert automatic.strategy == "classifier"
    assert named.expert == "sailing"
    with pytest.raises(UsageError, match=r"routing\.model"):
        open_router(load_settings(tmp_path, overrides={"routing.strategy": "classifier"}, environment={}), HashingEmbedder)


def test_what_is_no_classifier_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        ClassifierRouter(tmp_path / "nowhere", 0.5)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}), encoding="utf-8")
    with pytest.raises(DataError, match="id2label"):
        ClassifierRouter(tmp_path, 0.5)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save({}, tmp_path / "pytorch_model.bin")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(DataError, match="cannot be loaded"):
        ClassifierRouter(tmp_path, 0.5).route([RouteRequest("flour")])
