"""Batch inference over a JSONL file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckllm.contracts import Message
from ckllm.errors import DataError, UpstreamError
from ckllm.llm import ScriptedLLM
from ckllm.llm import batch_file as batch_module
from ckllm.llm.batch_file import run_batch_file


def _answer(messages: Sequence[Message]) -> str:
    text = messages[-1].content
    if text == "fail":
        raise UpstreamError("the model is down")
    return f"{text} and more. And more"


def _write(file: Path, rows: Sequence[object]) -> Path:
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return file


def _read(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_rows_come_out_in_order_with_their_own_parameters_and_errors(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "one"},
        {"id": 7, "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "two"}], "stop": "."},
        {"id": "f", "prompt": "fail"},
        "not json",
        {"prompt": "three", "max_tokens": 1},
        {"prompt": "four", "temprature": 1},
        {"prompt": "five", "messages": []},
        {"id": "u", "messages": [{"role": "robot", "content": "x"}]},
    ]
    seen: list[tuple[int, int]] = []
    llm = ScriptedLLM(_answer)
    report = run_batch_file(llm, _write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", lambda *at: seen.append(at))
    out = _read(tmp_path / "out.jsonl")
    assert [row["row"] for row in out] == list(range(8))
    assert [row.get("id") for row in out] == ["a", 7, "f", None, None, None, None, "u"]
    assert (out[0]["text"], out[1]["text"], out[4]["text"]) == ("one and more. And more", "two and more", "three")
    assert (out[1]["finish_reason"], out[4]["finish_reason"]) == ("stop", "length")
    errors = [row["error"] for row in out if "error" in row]
    assert [error["type"] for error in errors if isinstance(error, dict)] == [
        "UpstreamError", "DataError", "UsageError", "UsageError", "UsageError",
    ]  # fmt: skip
    assert (report.rows, report.skipped, report.failed) == (8, 0, 5)
    assert seen[-1] == (8, 8)


def test_a_run_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "WINDOW", 2)
    source = _write(tmp_path / "in.jsonl", [{"prompt": f"row {number}"} for number in range(7)])
    whole = tmp_path / "whole.jsonl"
    run_batch_file(ScriptedLLM(_answer), source, whole)
    cut = tmp_path / "cut.jsonl"
    content = whole.read_bytes()
    cut.write_bytes(content[: content.index(b"\n", content.index(b"\n") + 1) + 20])
    llm = ScriptedLLM(_answer)
    report = run_batch_file(llm, source, cut)
    assert cut.read_bytes() == content
    assert (report.skipped, len(llm.requests)) == (2, 5)
    assert run_batch_file(llm, source, cut).skipped == 7
    assert cut.read_bytes() == content


def test_the_output_of_other_rows_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run_batch_file(ScriptedLLM(_answer), _write(tmp_path / "a.jsonl", [{"prompt": "x"}]), out)
    before = out.read_bytes()
    for rows in ([{"prompt": "y"}], []):
        with pytest.raises(DataError, match="another output file"):
            run_batch_file(ScriptedLLM(_answer), _write(tmp_path / "b.jsonl", rows), out)
    assert out.read_bytes() == before


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jsonl"):
        run_batch_file(ScriptedLLM(_answer), tmp_path / "missing.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_run_goes_on_after_lines_that_only_unicode_ends(tmp_path: Path) -> None:
    """U+2028, U+2029 and U+0085 stand in JSON as they are, and end no row."""
    source = _write(tmp_path / "in.jsonl", [{"prompt": f"one\u2028two\u0085three {number}"} for number in range(3)])
    out = tmp_path / "out.jsonl"
    run_batch_file(ScriptedLLM(_answer), source, out)
    content = out.read_bytes()
    assert "\u2028".encode() in content
    out.write_bytes(content[:-10])
    assert run_batch_file(ScriptedLLM(_answer), source, out).skipped == 2
    assert out.read_bytes() == content


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ids_that_utf8_cannot_hold_and_byte_order_marks_do_no_harm(tmp_path: Path, mark: str) -> None:
    (tmp_path / "in.jsonl").write_text(mark + '{"id": "\\ud800", "prompt": "one"}\n{"prompt": "two"}\n', encoding="utf-8")
    report = run_batch_file(ScriptedLLM(_answer), tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (report.rows, report.failed) == (2, 0)
    assert [row.get("id") for row in _read(tmp_path / "out.jsonl")] == ["\ud800", None]
    assert run_batch_file(ScriptedLLM(_answer), tmp_path / "in.jsonl", tmp_path / "out.jsonl").skipped == 2
