"""Every embedder under one name, opened once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.config import EmbeddingSettings
from ckllm.embedding.base import Embedder
from ckllm.embedding.table import open_embedder
from tests.embedding.embedding_server import Server, serving

EMBEDDERS = ("hashing", "e5-openvino", "minilm-openvino", "minilm-sentence-transformers", "server")
_SETTINGS = {
    "hashing": EmbeddingSettings(model="hashing"),
    "e5-openvino": EmbeddingSettings(),
    "minilm-openvino": EmbeddingSettings(model="all-MiniLM-L6-v2"),
    "minilm-sentence-transformers": EmbeddingSettings(model="all-MiniLM-L6-v2", runtime="sentence-transformers"),
    "e5-sentence-transformers": EmbeddingSettings(runtime="sentence-transformers"),
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def opened(models_folder: Path) -> Iterator[dict[str, Embedder]]:
    """Embedders by name, filled as they are asked for."""
    with serving() as running:
        settings = EmbeddingSettings(
            model="hashed", base_url=running.url, query_prefix="question: ", passage_prefix="", max_tokens=200
        )
        yield {"server": open_embedder(settings, models_folder)}


def open_by_name(name: str, opened: dict[str, Embedder], models_folder: Path) -> Embedder:
    if name not in opened:
        opened[name] = open_embedder(_SETTINGS[name], models_folder)
    return opened[name]


@pytest.fixture(params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest, opened: dict[str, Embedder], models_folder: Path) -> Embedder:
    return open_by_name(str(request.param), opened, models_folder)
