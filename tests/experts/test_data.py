"""Rows made from categories and from documents; the score of answers; a whole training run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckllm.contracts import Message
from ckllm.errors import DataError, UsageError
from ckllm.experts.card import read_card
from ckllm.experts.evaluation import Task, compare, evaluate, read_tasks, scores, token_f1, words
from ckllm.experts.registry import Registry
from ckllm.experts.training.data import Passage, cloze_rows, heading_rows, segments, write_rows
from ckllm.experts.training.loop import TrainingOptions
from ckllm.experts.training.rows import Row, read_rows
from ckllm.experts.training.run import Order, train_expert
from ckllm.llm.scripted import ScriptedLLM
from tests.experts.conftest import CharacterTokenizer


def row(text: str, source: str = "s") -> Row:
    return Row((Message("user", text),), f"reply {text}", source)


def test_segments_hold_own_rows_and_a_tenth_of_guests() -> None:
    rows = [("coding", row(f"c{n}")) for n in range(45)] + [("riddle", row(f"r{n}")) for n in range(90)] + [("unknown", row("u"))]
    found = segments(rows)
    assert set(found) == {"code", "reasoning"}
    guests = [r for r in found["code"] if r.messages[0].content.startswith("r")]
    assert (len(found["code"]), len(guests)) == (50, 5)
    assert segments(rows) == found
    assert len(segments(rows, foreign=0)["code"]) == 45
    with pytest.raises(UsageError):
        segments(rows, foreign=0.5)


def test_cloze_questions_are_answered_by_their_passage() -> None:
    passages = [
        Passage(
            "The mill on the river was built by Anna Keller in 1871. It burned down one winter later, in 1902.",
            "Mill",
            "mill.txt",
        ),
        Passage("Since then the island has been looked after by the ranger Tom Wood alone.", "Mill", "mill.txt"),
    ]
    rows = cloze_rows(passages)
    assert {"Anna Keller", "1871", "1902", "Tom Wood"} >= {r.response for r in rows}
    assert len(rows) >= 3
    for one in rows:
        prompt = one.messages[-1].content
        question = prompt.rsplit("Question:", 1)[1]
        assert one.response in prompt
        assert one.response not in question
        assert "____" in question
        assert one.source == "mill.txt"


def test_f1_after_known_values() -> None:
    assert token_f1("the Red Mill", "red mill") == 1
    assert token_f1("red house", "red mill") == 0.5
    assert token_f1("", "x") == 0
    assert words("第三个 Tests, the") == ["第", "三", "个", "tests"]
    found = scores(["red mill", "no"], [["blue", "Red Mill."], ["yes"]])
    assert (found.f1, found.exact, found.rows) == (0.5, 0.5, 2)


def test_evaluation_asks_with_the_adapters_that_are_named() -> None:
    llm = ScriptedLLM(lambda _messages: " red mill ")
    tasks = [Task((Message("user", f"q{n}"),), ("red mill",)) for n in range(3)]
    found = evaluate(llm, tasks, {"folder": 1.0})
    assert (found.f1, found.rows) == (1.0, 3)
    assert [dict(request.adapters) for request in llm.requests] == [{"folder": 1.0}] * 3


def test_training_an_expert_writes_a_folder_that_can_be_added(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *a, **k: CharacterTokenizer())
    rows = [row(f"say {n % 7}", f"doc{n % 10}") for n in range(40)]
    options = TrainingOptions(rank=2, alpha=4, epochs=8, pack_tokens=120, evaluate_every=5, learning_rate=2e-2)
    order = Order(
        "echo", tiny_llama, "tiny", tmp_path / "echo", options, licence="CC0-1.0", data_sha256="d" * 64, command="train"
    )
    card = train_expert(order, rows)
    assert card == read_card(tmp_path / "echo")
    assert card.scores["expert"]["loss"] < card.scores["base"]["loss"]
    assert card.training["used"] == {"train": 32, "validation": 4, "test": 4}
    assert card.training["data_sha256"] == "d" * 64
    registry = Registry(tmp_path / "home", shipped=None)
    assert registry.add(tmp_path / "echo").card.base_model == "tiny"


def test_headings_are_asked_for_by_their_first_sentence() -> None:
    filters = Passage("The sand is washed every two days with clean water. Then it rests.", "Works", "w.md", "Works › Filters")
    more = Passage("A second passage of the same section that says other things about it.", "Works", "w.md", "Works › Filters")
    pumps = Passage("Two engines lift the water from the river into the upper basin.", "Works", "w.md", "Works › Pumps")
    rows = heading_rows([filters, more, pumps, Passage("Text without any heading over it, but long enough.", "N", "n.txt")])
    assert [(row.response, row.source) for row in rows] == [
        ("The sand is washed every two days with clean water.", "w.md"),
        ("Two engines lift the water from the river into the upper basin.", "w.md"),
    ]
    assert "What is said under “Filters”?" in rows[0].messages[-1].content
    assert rows[0].response in rows[0].messages[-1].content


def test_rows_are_written_as_they_are_read(tmp_path: Path) -> None:
    rows = [Row((Message("system", "s"), Message("user", "q\u2028?")), "a", "doc", 0.5), row("x", "doc2")]
    write_rows(rows, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl")[0] == rows


def test_refusals_are_scored_apart_from_answers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        {"prompt": "1", "response": "red", "answers": ["red", "crimson"]},
        {"prompt": "2", "response": "blue"},
        {"prompt": "3", "response": "Not stated.", "answers": []},
        {"prompt": "4", "response": "Not stated.", "answers": []},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    tasks = read_tasks(file)
    assert [task.references for task in tasks] == [("red", "crimson"), ("blue",), (), ()]
    says = {"1": "Crimson", "2": "not stated", "3": "Not stated", "4": "green"}
    good = evaluate(ScriptedLLM(lambda messages: says[messages[-1].content]), tasks, {})
    assert (good.f1, good.exact, good.refusal) == (0.5, 0.5, 0.5)  # one of two answered, one of two refused
    poor = evaluate(ScriptedLLM(lambda _messages: "green"), tasks, {})
    report = compare(tasks, good, poor)
    assert (report["answerable"], report["gain_f1"]["mean"], report["base"]["refusal"]) == (2, 0.5, 0.5)
    file.write_text('{"prompt": "1", "response": "r", "answers": "r"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="answers"):
        read_tasks(file)
