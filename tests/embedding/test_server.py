"""The embedder for OpenAI-compatible servers, against a real server on loopback."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.embedding import openai_compatible
from ckllm.embedding.bundled import MODELS
from ckllm.embedding.calibration import SENTENCES
from ckllm.embedding.openai_compatible import OpenAiCompatibleEmbedder, estimate_tokens
from ckllm.embedding.prepared import prepare
from ckllm.embedding.tokens import load_tokenizer, token_ids
from ckllm.errors import UpstreamError, UsageError
from tests.embedding.embedding_server import DIMENSION, Server


def _answer(*rows: object) -> str:
    return json.dumps({"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]})


@pytest.mark.parametrize("fault", [429, 500, 503])
def test_a_passing_fault_is_tried_again(server: Server, fault: int) -> None:
    server.faults = [(fault, "busy")] * 2
    vectors = OpenAiCompatibleEmbedder(server.url, "m").embed(["one", "two"], "passage")
    np.testing.assert_allclose(vectors, server.embedder.embed(["one", "two"], "passage"), atol=1e-6)
    assert server.faults == []


def test_a_server_that_stays_broken_is_reported(server: Server) -> None:
    server.faults = [(503, "the model\nis loading")] * 20
    with pytest.raises(UpstreamError, match=r"answered 503 \(the model is loading\)"):
        OpenAiCompatibleEmbedder(server.url, "m").embed(["one"], "passage")
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_not_tried_again_and_hides_the_key(server: Server, status: int) -> None:
    server.faults = [(status, "no")]
    with pytest.raises(UpstreamError, match=rf"answered {status}.*check embedding\.base_url") as caught:
        OpenAiCompatibleEmbedder(server.url, "m", api_key="secret-key").embed(["one"], "passage")
    assert len(server.requests) == 1
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        "null",
        "{}",
        '{"data": 3}',
        '{"data": []}',
        '{"data": [{"embedding": [1]}]}',
        '{"data": [{"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}]}',
        '{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}',
        _answer([float("nan"), 1.0]),
        _answer([float("inf"), 1.0]),
        _answer([1e200, 1e200]),
        _answer([0.0, 0.0]),
        _answer([]),
        _answer([[1.0], [2.0]]),
        _answer([1.0, None]),
        _answer([1.0], [1.0]),
    ],
)
def test_rubbish_is_refused(server: Server, body: str) -> None:
    server.faults = [(200, body)]
    with pytest.raises(UpstreamError):
        OpenAiCompatibleEmbedder(server.url, "m").embed(["one"], "passage")


def test_vectors_of_another_length_are_refused(server: Server) -> None:
    embedder = OpenAiCompatibleEmbedder(server.url, "m")
    assert embedder.dimension == DIMENSION
    server.faults = [(200, _answer([1.0] * (DIMENSION + 1)))]
    with pytest.raises(UpstreamError, match=rf"vectors of {DIMENSION + 1} numbers, before of {DIMENSION}"):
        embedder.embed(["one"], "passage")


def test_many_texts_go_in_limited_batches_and_come_back_in_order(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_compatible, "BATCH_TEXTS", 7)
    texts = [f"text {number}" for number in range(40)] + [""]
    vectors = OpenAiCompatibleEmbedder(server.url, "m", prefixes=("", "p: ")).embed(texts, "passage")
    expected = server.embedder.embed([f"p: {text}" for text in texts], "passage")
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert max(len(request["input"]) for request in server.requests) == 7
    assert {request["model"] for request in server.requests} == {"m"}


def test_empty_strings_are_not_sent(server: Server) -> None:
    OpenAiCompatibleEmbedder(server.url, "m").embed(["", "a"], "passage")
    assert all(text for request in server.requests for text in request["input"])


@pytest.mark.parametrize("cut", ["/v1", ""])
def test_the_address_may_end_anywhere(server: Server, cut: str) -> None:
    base = server.url.removesuffix("/v1")
    for url in (base + cut, base + cut + "/", base + "/v1/embeddings"):
        assert OpenAiCompatibleEmbedder(url, "m").dimension == DIMENSION


def test_the_key_is_sent_only_where_there_is_one(server: Server) -> None:
    assert OpenAiCompatibleEmbedder(server.url, "m", api_key="k").dimension == DIMENSION
    assert OpenAiCompatibleEmbedder(server.url, "m").dimension == DIMENSION
    assert server.authorizations == ["Bearer k", None]


def test_no_server_is_reported_soon() -> None:
    start = time.monotonic()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        OpenAiCompatibleEmbedder("http://127.0.0.1:9/v1", "m").embed(["one"], "passage")
    assert time.monotonic() - start < 15


def test_a_tokenizer_that_is_set_counts(server: Server, models_folder: Path) -> None:
    folder = prepare(MODELS["all-MiniLM-L6-v2"], models_folder)
    exact = load_tokenizer(folder / "tokenizer.json")
    expected = [len(ids) for ids in token_ids(exact, SENTENCES[:5], special=False)]
    for place in (folder, folder / "tokenizer.json"):
        embedder = OpenAiCompatibleEmbedder(server.url, "m", tokenizer=str(place))
        assert embedder.count_tokens(SENTENCES[:5]) == expected


def test_the_estimate_is_cautious(models_folder: Path) -> None:
    tokenizer = load_tokenizer(prepare(MODELS["multilingual-e5-small"], models_folder) / "tokenizer.json")
    for sentence, ids in zip(SENTENCES, token_ids(tokenizer, SENTENCES, special=False), strict=True):
        assert len(ids) <= estimate_tokens(sentence) <= 10 * len(ids), sentence


@given(st.text(max_size=200))
def test_an_estimate_is_never_more_than_the_bytes(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= len(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("address", ["127.0.0.1:80", "http://[::1/v1", "file:///etc"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"embedding\.base_url"):
        OpenAiCompatibleEmbedder(address, "small")
