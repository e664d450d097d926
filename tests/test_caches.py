"""What is remembered is remembered under everything that decides it. Each test leaves one thing as it was and changes another;
a cache that does not look at the changed one gives the old answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from safetensors.numpy import save_file

from ckllm import presence
from ckllm.assembly import Replacements, open_keys, open_knowledge_base
from ckllm.config import EmbeddingSettings, ExpertSettings, Settings, load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import UnknownDocumentError
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.openvino_mixtures import Mixtures
from ckllm.llm.peft_folder import CONFIG, WEIGHTS
from ckllm.llm.scripted import ScriptedLLM
from ckllm.reader import adapter as reader_adapter
from ckllm.store.keys import KeyRing
from ckllm.store.memory import MemoryStore
from ingestion import ray_runner
from tests.knowledge import add

SECRET = "The cipher of the red group is quillfeather 88."
QUESTION = "What is the cipher of the red group?"


# -- evidence, by the user's groups and the documents' versions as they are now


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[KnowledgeBase]:
    """With the users of its own key ring."""
    replacements = Replacements(MemoryStore(), HashingEmbedder(), ScriptedLLM(lambda _: SECRET))
    settings = load_settings(tmp_path, overrides={"answer.caution": "open"}, environment={})
    with open_knowledge_base(settings=settings, replacements=replacements) as opened:
        yield opened


@pytest.fixture
def ring(kb: KnowledgeBase) -> Iterator[KeyRing]:
    opened = open_keys(kb.settings)
    yield opened
    opened.close()


def told(kb: KnowledgeBase, user: str = "ana") -> bool:
    """Whether the secret reaches the user, in any way; all ways are gone again and again, so that what is remembered is used."""
    answer = kb.ask(QUESTION, user=user)
    ways = {"quillfeather" in answer.answer, any("quillfeather" in entry.hit.text for entry in answer.evidence)}
    ways.add(any("quillfeather" in hit.text for hit in kb.search(QUESTION, user=user)))
    documents = [row for row in kb.documents(user=user) if row.title == "secret.txt"]
    ways.add(bool(documents))
    assert len(ways) == 1, "all ways agree"
    return ways.pop()


def test_a_user_s_groups_are_those_of_the_moment(kb: KnowledgeBase, ring: KeyRing) -> None:
    add(kb, "open.txt", "The canteen of the red group opens at noon.")
    add(kb, "secret.txt", SECRET, groups=["red"])
    ring.create("ana", ["blue"], "read")
    assert not told(kb)
    key, _ = ring.create("ana", ["red"], "read")
    assert told(kb)
    ring.revoke(key.id)
    assert not told(kb)


def test_a_document_s_groups_are_those_of_its_last_version(kb: KnowledgeBase, ring: KeyRing) -> None:
    ring.create("ana", ["blue"], "read")
    add(kb, "open.txt", "The canteen of the red group opens at noon.")
    for groups, seen in (([], True), (["red"], False), (["red", "blue"], True)):
        add(kb, "secret.txt", SECRET, groups=groups)
        assert told(kb) is seen
    document_id = next(row.id for row in kb.documents() if row.title == "secret.txt")
    add(kb, "secret.txt", SECRET, groups=["red"])
    with pytest.raises(UnknownDocumentError):
        kb.document_text(document_id, user="ana")


def test_a_passage_is_that_of_the_last_version(kb: KnowledgeBase) -> None:
    add(kb, "secret.txt", SECRET)
    first = kb.ask(QUESTION)
    add(kb, "secret.txt", SECRET.replace("88", "99") + " It was changed.")
    second = kb.ask(QUESTION)
    assert ("88" in first.answer, "88" in second.answer, "99" in second.answer) == (True, False, True)
    assert not {entry.hit.chunk_id for entry in first.evidence} & {entry.hit.chunk_id for entry in second.evidence}


# -- the language model's cache of prefixes, by the mixture of adapters that a prefix was read with


def adapter(folder: Path, value: float = 1.0, alpha: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"base_model.model.x.lora_A.weight": np.full((2, 2), value, np.float32)}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": alpha}), encoding="utf-8")
    return folder


def same_times(folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, ns=(1_000, 1_000))


@pytest.fixture
def mixtures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mixtures:
    """Their pipelines, each of which has a cache of prefixes of its own, are empty objects."""
    monkeypatch.setattr(Mixtures, "_config", lambda _self, mixture: mixture)
    return Mixtures(tmp_path, lambda _: object(), most_open=100)  # type: ignore[arg-type, return-value]


def test_prefixes_are_shared_by_requests_with_the_same_adapters_alone(mixtures: Mixtures, tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "one"), adapter(tmp_path / "other")
    asked: list[dict[str, float]] = [
        {}, {str(one): 1.0}, {str(one): 0.5}, {str(other): 1.0},
        {str(one): 1.0, str(other): 1.0}, {str(one): 0.3, str(other): 0.7},
    ]  # fmt: skip
    first = [pipeline(mixtures, each) for each in asked]
    assert len({id(each) for each in first}) == len(asked)
    assert [pipeline(mixtures, each) for each in asked] == first
    assert pipeline(mixtures, dict(reversed(asked[-1].items()))) is first[-1]
    assert pipeline(mixtures, {str(one): 0.0}) is first[0]


@pytest.mark.parametrize("change", [{"value": 2.0}, {"alpha": 4}])
def test_prefixes_are_not_shared_with_what_an_adapter_was(mixtures: Mixtures, tmp_path: Path, change: dict[str, Any]) -> None:
    asked = {str(adapter(tmp_path / "one")): 1.0}
    same_times(tmp_path / "one")
    before = pipeline(mixtures, asked)
    adapter(tmp_path / "one", **change)
    same_times(tmp_path / "one")
    after = pipeline(mixtures, asked)
    assert after is not before
    assert pipeline(mixtures, asked) is after


def pipeline(mixtures: Mixtures, adapters: dict[str, float]) -> object:
    with mixtures.lent(adapters) as found:
        return found


# -- converted models, by what they were made of


def test_a_reader_is_put_together_anew_for_another_adapter_or_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def build(_module: str, _adapter: Path, _base: Path, graph: Path) -> dict[str, Any]:
        made.append(graph)
        graph.write_text("graph", encoding="utf-8")
        return {}

    monkeypatch.setattr(reader_adapter, "called_apart", build)
    file, base = tmp_path / "reader.safetensors", tmp_path / "base"
    base.mkdir()

    def prepared(adapter: bytes, base_format: int, source: str) -> int:
        file.write_bytes(adapter)
        description = {"format": base_format, "sources": {"weights": {"sha256": source}}, "agreement": len(made)}
        (base / "ckllm.json").write_text(json.dumps(description), encoding="utf-8")
        assert (reader_adapter.prepare(file, base, tmp_path / "models") / reader_adapter.GRAPH).is_file()
        return len(made)

    assert [prepared(b"one", 4, "a"), prepared(b"one", 4, "a")] == [1, 1]
    assert prepared(b"two", 4, "a") == 2
    assert prepared(b"two", 5, "a") == 3
    assert prepared(b"two", 5, "b") == 4
    monkeypatch.setattr(reader_adapter, "VERSION", reader_adapter.VERSION + 1)
    assert [prepared(b"two", 5, "b"), prepared(b"two", 5, "b")] == [5, 5]


def test_a_node_opens_an_embedder_for_each_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []

    def open_embedder(settings: EmbeddingSettings, folder: Path) -> HashingEmbedder:
        opened.append(f"{settings.model} {settings.api_key.get_secret_value()} {folder.name}")
        return HashingEmbedder()

    monkeypatch.setattr("ckllm.embedding.table.open_embedder", open_embedder)
    ray_runner._opened.cache_clear()
    name = HashingEmbedder().name
    for key, folder in (("first", "a"), ("first", "a"), ("second", "a"), ("second", "b")):
        settings = EmbeddingSettings(model="m", api_key=SecretStr(key))
        ray_runner.embed_there(["a text"], settings, tmp_path / folder, name)
    ray_runner._opened.cache_clear()
    assert opened == ["m first a", "m second a", "m second b"]


# -- a running service, by all that decides what it answers


def test_a_service_answers_for_commands_with_its_own_version_and_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"store.token": "ana:x", "embedding.api_key": "x", "llm.api_key": "x"}
    settings = load_settings(overrides=keys, environment={})

    def other(section: str, **values: object) -> Settings:
        return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})

    changed = [
        other("store", uri="http://elsewhere:19530"), other("store", token=SecretStr("bo:y")),
        other("embedding", model="hashing"), other("embedding", api_key=SecretStr("y")), other("embedding", query_prefix="q: "),
        other("retrieval", k=3), other("answer", caution="open"), other("llm", model="another"),
        other("llm", api_key=SecretStr("y")),
        other("routing", default="base"), settings.model_copy(update={"experts": (ExpertSettings(name="x", adapter="y"),)}),
    ]  # fmt: skip
    known = {presence.fingerprint(one) for one in (settings, *changed)}
    assert len(known) == 1 + len(changed)
    assert presence.fingerprint(load_settings(overrides=keys, environment={})) == presence.fingerprint(settings)
    monkeypatch.setattr(presence, "__version__", "0.0.1")
    assert presence.fingerprint(settings) not in known
