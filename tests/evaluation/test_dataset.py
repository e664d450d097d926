"""Sets as they are read: every kind of evidence, and lines that cannot be used are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckllm.errors import DataError, UsageError
from ckllm.evaluation.dataset import Gold, read_dataset


def write(folder: Path, questions: list[object], corpus: list[object] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in (("questions.jsonl", questions), ("corpus.jsonl", corpus)):
        if rows is not None:
            text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


CORPUS: list[object] = [{"id": "a", "title": "A", "text": "one\u2028two", "lang": "en"}, {"id": "b", "text": "three"}]


def test_all_kinds_of_questions(tmp_path: Path) -> None:
    span = {"doc": "a", "start": 0, "end": 3, "text": "one", "annotations": [0, 1]}
    whole = {"doc": "b", "start": None, "end": None, "text": None, "grade": 3}
    questions: list[object] = [
        {"id": "q1", "question": "x?", "lang": "en", "answers": ["one"], "answerable": True, "evidence_mode": "any",
         "evidence": [span]},
        {"id": "q2", "question": "y?", "answers": [], "answerable": True, "evidence_mode": "graded", "evidence": [whole]},
        {"id": "q3", "question": "z?", "answers": [], "answerable": False, "evidence_mode": "none", "evidence": [],
         "paired_doc": "a"},
        {"question": "plain\u2028one?"},
    ]  # fmt: skip
    found = read_dataset(write(tmp_path / "set", questions, CORPUS))
    assert [row.text for row in found.corpus] == ["one\u2028two", "three"]
    first, second, third, fourth = found.questions
    assert first.evidence == (Gold("a", 0, 3, "one", 1.0, (0, 1)),)
    assert (second.mode, second.evidence[0].grade, second.evidence[0].is_span) == ("graded", 3.0, False)
    assert (third.answerable, third.mode, third.evidence) == (False, "none", ())
    assert (fourth.id, fourth.answerable, fourth.mode) == ("4", None, "none")
    assert (found.name, len(found.sha256)) == ("set", 64)


def test_a_users_own_questions(tmp_path: Path) -> None:
    file = write(tmp_path, [{"question": "x?", "answers": ["one"]}]) / "questions.jsonl"
    found = read_dataset(file)
    assert found.corpus == ()
    assert found.questions[0].answerable is True


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "not JSON"),
        ([1], "object"),
        ({"question": " "}, "empty"),
        ({"question": 3}, '"question"'),
        ({"question": "x", "answers": "one"}, "list of texts"),
        ({"question": "x", "answerable": "yes"}, "true or false"),
        ({"question": "x", "evidence_mode": "some"}, "any, all, graded, none"),
        ({"question": "x", "evidence": [{"start": 1}]}, '"doc"'),
        ({"question": "x", "evidence": [{"doc": "a", "start": 3, "end": 1}]}, "below its end"),
        ({"question": "x", "evidence": [{"doc": "a", "start": -1, "end": 1}]}, "whole numbers"),
        ({"question": "x", "evidence": [{"doc": "a", "grade": -1}]}, "grade"),
        ({"question": "x", "evidence": [{"doc": "elsewhere"}]}, "elsewhere"),
        ({"id": "1", "question": "x"}, "twice"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path: Path, row: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_dataset(write(tmp_path / "set", [{"id": "1", "question": "fine"}, row], CORPUS))


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"corpus\.jsonl"):
        read_dataset(write(tmp_path / "set", []))
    with pytest.raises(UsageError, match="nowhere"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no questions"):
        read_dataset(write(tmp_path / "set", [], CORPUS))


def test_a_sample_is_repeatable_and_in_order(tmp_path: Path) -> None:
    found = read_dataset(write(tmp_path / "set", [{"id": n, "question": "x"} for n in range(50)], CORPUS))
    some = found.sample(10, seed=1)
    assert some == found.sample(10, seed=1) != found.sample(10, seed=2)
    numbers = [int(one.id) for one in some.questions]
    assert numbers == sorted(numbers)
    assert len(numbers) == 10
    assert found.sample(0) is found
