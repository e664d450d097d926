"""Attacks against the bundled embedder and the bundled language model, as installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.embedding.table import open_embedder
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.table import open_llm
from ingestion import ingest
from tests.injection.attacks import Attack, attacks
from tests.injection.test_attacks import assert_inert

CHOSEN = (
    "order 1", "order in Spanish", "order in a heading", "fake delimiter", "tokens of chatml", "exfiltration by Markdown image",
    "order as letters with blanks of no width",
)  # fmt: skip
ATTACKS = [attack for attack in attacks() if attack.name in CHOSEN]


@pytest.fixture(scope="module")
def kb(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    folder = tmp_path_factory.mktemp("documents")
    for number, attack in enumerate(ATTACKS):
        (folder / f"{number} honest.txt").write_text(attack.topic.honest, encoding="utf-8")
        (folder / f"{number} attack{attack.suffix}").write_bytes(attack.content)
    settings = load_settings(tmp_path_factory.mktemp("home"), overrides={"answer.max_tokens": 32}, environment={})
    parts = Replacements(embedder=open_embedder(settings.embedding, models_folder), llm=open_llm(settings.llm, models_folder))
    with open_knowledge_base(settings=settings, replacements=parts) as opened:
        assert ingest([str(folder)], opened).added == 2 * len(ATTACKS)
        yield opened


def test_all_were_chosen() -> None:
    assert len(ATTACKS) == len(CHOSEN)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_honest_document_answers(kb: KnowledgeBase, attack: Attack) -> None:
    answer = kb.ask(attack.topic.question)
    assert not answer.refused, answer.reason
    assert attack.topic.mayor in answer.answer
    assert all(word.casefold() not in answer.answer.casefold() for word in attack.forbidden)
    assert_inert(answer.answer)
    assert all(one.supported and one.citations for one in answer.sentences)
