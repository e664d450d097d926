"""A part is made once, whoever asks first; made ahead, its error reaches who asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import StoreError
from ckllm.llm.scripted import ScriptedLLM
from ckllm.parts import REMEMBERED, Lazy
from ckllm.store.lite import LockedStoreError
from ingestion import ingest
from tests.knowledge import knowledge_base


def test_what_is_made_ahead_is_made_once() -> None:
    made: list[int] = []
    gate = threading.Event()

    def make() -> int:
        gate.wait(5)
        made.append(1)
        return len(made)

    part = Lazy(make)
    part.ahead()
    part.ahead()
    gate.set()
    assert part() == part() == 1
    part.ahead()
    assert part.taken() == [1]
    assert part.taken() == []


def test_an_error_ahead_is_raised_once_and_then_tried_again() -> None:
    answers = iter([StoreError("locked"), None])

    def make() -> str:
        error = next(answers)
        if error:
            raise error
        return "open"

    part = Lazy(make)
    part.ahead()
    with pytest.raises(StoreError, match="locked"):
        part()
    assert part() == "open"


def test_what_was_made_ahead_and_never_asked_for_is_taken() -> None:
    part = Lazy(lambda: "open")
    part.ahead()
    assert part.taken() == ["open"]

    def fails() -> str:
        raise StoreError("locked")

    broken = Lazy(fails)
    broken.ahead()
    assert broken.taken() == []


def test_many_threads_warm_a_mixture_once_and_few_are_remembered(tmp_path: Path) -> None:
    with knowledge_base(tmp_path) as kb:
        parts = kb._parts
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(parts.warm, [{"base": 1.0}] * 64))
        assert len(parts.warming) == 1
        for number in range(100):
            parts.warm({"base": number / 100})
            next(reversed(parts.warming.values())).join()
        assert len(parts.warming) <= REMEMBERED
    assert not parts.warming


def test_a_released_store_is_free_for_others_and_opened_again(tmp_path: Path) -> None:
    """What `ckllm ingest --watch` does between two runs, with the embedded store."""
    settings = load_settings(tmp_path / "home", overrides={"store.lock_timeout_s": 1}, environment={})
    replacements = Replacements(embedder=HashingEmbedder(), llm=ScriptedLLM(()))
    document = tmp_path / "a.txt"
    document.write_text("The hatch is painted green.")
    with (
        open_knowledge_base(settings=settings, replacements=replacements) as kb,
        open_knowledge_base(settings=settings, replacements=replacements) as other,
    ):
        assert ingest([str(document)], kb).added == 1
        with pytest.raises(LockedStoreError):
            other.search("hatch")
        kb.release_store()
        assert len(other.search("hatch")) == 1
        other.release_store()
        document.write_text("The hatch is painted blue.")
        assert ingest([str(document)], kb).updated == 1
        assert "blue" in kb.search("hatch")[0].text
