"""The sentences that a model wrote, with their labels: the file as it is, and how it finds its passages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import verification_outputs
from benchmarks.verification import written_figures
from benchmarks.verification_outputs import LABELLED, PASSAGE, WRITTEN, labelled
from ckllm.citations.verification import TrainedVerifier

FERRY = "The ferry Otter crosses the strait every twenty minutes. It takes eleven cars."


def test_every_row_has_a_label_and_names_its_passage_without_holding_it() -> None:
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert set(row) - {"again"} == {"sentence", "set", "document", "question", "expert", "label"}
        assert {row["label"], row.get("again", "yes")} <= {"yes", "passage", "no"}
    assert len({(row["document"], row["sentence"], row["set"]) for row in rows}) == len(rows)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "boats").mkdir()
    passage = {"id": "b1", "title": "Otter", "text": FERRY, "lang": "en"}
    (tmp_path / "boats" / "corpus.jsonl").write_text(json.dumps(passage) + "\n")
    said = [
        ("The ferry Otter crosses the strait every twenty minutes.", "yes"),
        ("The ferry Otter crosses the strait every minute.", "no"),
        ("The ferry Otter takes eleven cars across the strait.", "passage"),
    ]
    rows = [
        {"sentence": text, "set": "boats", "document": "b1", "question": "q", "expert": "base", "label": label}
        for text, label in said
    ]
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(verification_outputs, "LABELLED", file)
    return tmp_path


def test_a_sentence_meets_the_span_that_it_is_aligned_with(folder: Path) -> None:
    first, second, third = labelled(folder)
    assert first.span == second.span == "The ferry Otter crosses the strait every twenty minutes."
    assert (first.supported, second.supported, third.supported) == (True, False, False)
    assert (first.kind, second.kind, third.kind) == (WRITTEN, WRITTEN, PASSAGE)
    assert first.source == "base"


def test_exact_quotes_are_told_apart(folder: Path) -> None:
    found = written_figures(labelled(folder), TrainedVerifier())
    assert (found["with_quotes"]["rows"], found["with_quotes"]["recall"]) == (2, 1.0)
    assert found["not_quotes"]["rows"] == 1
    assert found["accepted_of_supported_by_the_passage_only"][1] == 1
