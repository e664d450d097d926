"""What a Milvus server of many nodes is asked for beyond one of a single node."""

from __future__ import annotations

from typing import Any

import pytest

from ckllm.store.base import IndexDescription
from ckllm.store.milvus import MilvusStore

INDEX = IndexDescription("ckllm_main", "hashing", 64)


class Client:
    """Remembers the keywords of each call."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, Any]] = {}

    def has_collection(self, *_: Any, **__: Any) -> bool:
        return False

    def prepare_index_params(self) -> Any:
        from pymilvus.milvus_client import IndexParams

        return IndexParams()

    def create_collection(self, *_: Any, **given: Any) -> None:
        self.calls["create"] = given

    def create_index(self, *_: Any, **given: Any) -> None:
        self.calls["index"] = given

    def load_collection(self, *_: Any, **given: Any) -> None:
        self.calls["load"] = given


@pytest.mark.parametrize(
    ("uri", "shards", "replicas"), [("http://127.0.0.1:19530", 4, 2), ("http://127.0.0.1:19530", 1, 1), ("unix:/nowhere", 4, 2)]
)
def test_shards_and_replicas_are_a_servers(monkeypatch: pytest.MonkeyPatch, uri: str, shards: int, replicas: int) -> None:
    client = Client()
    monkeypatch.setattr(MilvusStore, "_connect", lambda *_: client)
    store = MilvusStore(uri, shards=shards, replicas=replicas)
    store.create(INDEX)
    store._loaded.clear()
    store._load(INDEX.name)
    server = uri.startswith("http")
    assert client.calls["create"].get("num_shards") == (shards if server else None)
    assert client.calls["load"].get("replica_number") == (replicas if server and replicas > 1 else None)
