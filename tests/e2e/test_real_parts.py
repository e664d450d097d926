"""From files to cited answers with the real store, the bundled embedder and the bundled language model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Answer, Done, Token
from ckllm.embedding.table import open_embedder
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.table import open_llm
from ckllm.reader.openvino_reader import OpenVinoReader
from ingestion import ingest

ENGLISH = """# Water works

The chlorine contact time in the main basin must be at least 30 minutes. Operators check it every Monday.

## Filters

The sand filters are backwashed every 48 hours. A backwash takes 12 minutes and uses 40 cubic metres of water.
"""
HINDI = """पुस्तकालय सोमवार को बंद रहता है। बाकी दिनों में पुस्तकालय सुबह नौ बजे खुलता है।

एक सदस्य एक बार में पाँच पुस्तकें ले सकता है।
"""


@pytest.fixture(scope="module")
def kb(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "works.md").write_text(ENGLISH, encoding="utf-8")
    (folder / "library.txt").write_text(HINDI, encoding="utf-8")
    settings = load_settings(tmp_path_factory.mktemp("home"), overrides={"answer.max_tokens": 32}, environment={})
    parts = Replacements(embedder=open_embedder(settings.embedding, models_folder), llm=open_llm(settings.llm, models_folder))
    with open_knowledge_base(settings=settings, replacements=parts) as opened:
        report = ingest([str(folder)], opened)
        assert report.added == 2
        assert not report.rejected
        yield opened


def exact(kb: KnowledgeBase, answer: Answer) -> None:
    assert answer.citations
    for citation in answer.citations:
        assert kb.document_text(citation.document_id).text[citation.start : citation.end] == citation.quote
    assert {int(n) for n in re.findall(r"\[(\d+)\]", answer.answer)} == {citation.marker for citation in answer.citations}
    assert all(answer.answer[s.start : s.end] == s.text and s.supported for s in answer.sentences)


def test_a_question_is_answered_from_its_sentence(kb: KnowledgeBase) -> None:
    answer = kb.ask("How often are the sand filters backwashed?")
    exact(kb, answer)
    assert "48 hours" in answer.answer
    assert answer.citations[0].section == "Water works › Filters" or answer.citations[0].section.endswith("Filters")
    assert answer.usage.prompt_tokens > 0


def test_the_stream_ends_with_the_same_kind_of_answer(kb: KnowledgeBase) -> None:
    events = list(kb.stream("How long must the chlorine contact time be?"))
    assert any(isinstance(event, Token) for event in events)
    done = events[-1]
    assert isinstance(done, Done)
    exact(kb, done.answer)
    assert "30 minutes" in done.answer.answer


def test_a_hindi_question_is_answered_from_a_hindi_document(kb: KnowledgeBase) -> None:
    answer = kb.ask("पुस्तकालय किस दिन बंद रहता है?")
    exact(kb, answer)
    assert "सोमवार" in answer.answer


def test_a_hindi_question_finds_its_english_passage(kb: KnowledgeBase) -> None:
    assert kb.search("रेत के फिल्टर कितने घंटे में धोए जाते हैं?")[0].source.endswith("works.md")


def test_a_question_about_nothing_in_the_documents_is_refused(kb: KnowledgeBase) -> None:
    answer = kb.ask("Who won the football world cup in 1974?")
    assert answer.refused
    assert answer.reason
    assert answer.evidence


SAMPLES = Path(__file__).parents[2] / "examples" / "documents"


@pytest.fixture(scope="module")
def samples(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """Three of the sample documents, asked as a newcomer does: with the reader."""
    settings = load_settings(tmp_path_factory.mktemp("samples"), overrides={}, environment={})
    embedder, llm = open_embedder(settings.embedding, models_folder), open_llm(settings.llm, models_folder)
    with open_knowledge_base(
        settings=settings, replacements=Replacements(embedder=embedder, llm=llm, reader=OpenVinoReader(models_folder))
    ) as opened:
        files = ("water/operations-handbook.pdf", "water/emergency-plan.docx", "beekeeping/guia-del-colmenar.docx")
        assert ingest([str(SAMPLES / file) for file in files], opened).added == len(files)
        yield opened


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("When is a domestic meter replaced?", "12 years"),
        ("How long does the generator's fuel last?", "36 hours"),
        ("¿A los cuántos días nace la reina?", "16 días"),
    ],
)
def test_the_questions_of_the_demonstration_are_answered(samples: KnowledgeBase, question: str, words: str) -> None:
    answer = samples.ask(question)
    assert not answer.refused
    assert words in answer.answer
    exact(samples, answer)


def test_what_the_samples_do_not_say_is_refused(samples: KnowledgeBase) -> None:
    assert samples.ask("Who won the football world cup in 1974?").refused
