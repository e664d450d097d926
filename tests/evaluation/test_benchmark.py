"""Scores of a language model on local tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckllm.contracts import Message
from ckllm.errors import DataError
from ckllm.evaluation.benchmark import run_benchmark
from ckllm.llm import ScriptedLLM


def _tasks(file: Path, rows: Sequence[object]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def test_multiple_choice_by_likelihood_a_token(tmp_path: Path) -> None:
    # The scripted model finds words of the question likely; a long wrong choice must not win by its length.
    rows = [
        {"question": "Is the mast red?", "choices": ["blue", "red"], "answer": 1, "lang": "en"},
        {"question": "Is the hull green?", "choices": ["green", "grey of many shades and tints"], "answer": 0, "lang": "en"},
        {"question": "क्या पाल सफेद है", "choices": ["सफेद", "काला"], "answer": 1, "lang": "hi"},
    ]
    report = run_benchmark(ScriptedLLM(), [_tasks(tmp_path / "ships.jsonl", rows)])
    found = {score.lang: (score.rows, score.accuracy) for score in report.scores}
    assert found == {"en": (2, 1.0), "hi": (1, 0.0), "": (3, pytest.approx(2 / 3))}


def test_question_answering(tmp_path: Path) -> None:
    def answer(messages: Sequence[Message]) -> str:
        return "The Marrow bridge." if "1874" in messages[-1].content else "no idea"

    rows = [
        {
            "question": "What was built?",
            "context": "In 1874 the Marrow bridge was built.",
            "answers": ["a Marrow Bridge", "tower"],
        },
        {"question": "Who was it?", "answers": ["Ada"]},
    ]
    report = run_benchmark(ScriptedLLM(answer), [_tasks(tmp_path / "qa.jsonl", rows)])
    (score,) = report.scores
    assert (score.exact_match, score.f1, score.rows) == (0.5, 0.5, 2)
    assert "| qa | all | 2 | 0.500 | 0.500 |" in report.as_markdown()
    assert json.loads(json.dumps(report.as_json()))["scores"][0]["task"] == "qa"


def test_a_row_that_cannot_be_scored_counts_as_wrong(tmp_path: Path) -> None:
    rows = [{"question": "word " * 300, "answers": ["x"]}, {"question": "short", "answers": ["x"]}]
    report = run_benchmark(ScriptedLLM(["x"], context_length=200), [_tasks(tmp_path / "qa.jsonl", rows)])
    assert (report.scores[0].failed, report.scores[0].exact_match) == (1, 0.5)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "x"}, {"question": "x", "choices": [], "answer": 0}, {"question": "x", "choices": ["a"], "answer": 1},
        {"question": 3, "answers": ["a"]}, {"question": "x", "answers": "a"}, ["x"],
        {"question": "x", "choices": ["a", "b"], "answer": True},
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(tmp_path: Path, row: object) -> None:
    with pytest.raises(DataError, match=r"bad\.jsonl:2"):
        run_benchmark(ScriptedLLM(), [_tasks(tmp_path / "bad.jsonl", [{"question": "x", "answers": ["a"]}, row])])


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "missing.jsonl"):
        if name.startswith("empty"):
            (tmp_path / name).write_text("\n", encoding="utf-8")
        with pytest.raises(DataError, match=name):
            run_benchmark(ScriptedLLM(), [tmp_path / name])
