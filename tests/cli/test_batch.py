"""Rows of `--batch` files, whatever stands in them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ckllm.cli.batch import answer_each
from ckllm.errors import UsageError


def echo(text: str) -> dict[str, Any]:
    if not text:
        raise UsageError("the question is empty")
    return {"answer": text}


def answered(file: Path, content: str, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    file.write_text(content, encoding="utf-8")
    answer_each(file, "question", echo)
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    "bad",
    [
        "not json", "[]", '{"id": 1}', '{"id": 1, "question": 7}', '{"id": NaN, "question": "x"}', "[" * 100_000,
        '{"id": ' + "9" * 5000 + ', "question": "x"}', '{"question": "", "id": 1}',
    ],
)  # fmt: skip
def test_a_bad_row_costs_only_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str], bad: str) -> None:
    rows = answered(tmp_path / "in.jsonl", f'{bad}\n\n{{"id": "b", "question": "y"}}\n', capfd)
    assert rows[0]["error"]["type"] in ("DataError", "UsageError") and rows[0]["error"]["message"]
    assert rows[1:] == [{"id": "b", "answer": "y"}]


def test_rows_that_an_earlier_run_failed_on_may_be_given_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = json.dumps({"id": 1, "question": "x", "error": {"type": "UpstreamError", "message": "down"}})
    assert answered(tmp_path / "in.jsonl", old, capfd) == [{"id": 1, "answer": "x"}]


def test_what_utf8_cannot_hold_goes_as_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    (tmp_path / "in.jsonl").write_text(r'{"id": "\ud800", "question": "x"}')
    answer_each(tmp_path / "in.jsonl", "question", echo)
    assert json.loads(written.getvalue()) == {"id": "\ud800", "answer": "x"}


def test_exit_code_one_only_where_every_row_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        answered(tmp_path / "in.jsonl", "no\nnot either\n", capfd)
    assert ended.value.exit_code == 1
