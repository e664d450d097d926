"""`complete`, `batch` and `benchmark` with the scripted model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_complete_reports_usage(run: Run) -> None:
    done = run("complete", "Once upon a time", "--max-tokens", "8", "--json")
    assert done.code == 0, done.err
    assert set(done.json) == {"prompt", "text", "finish_reason", "usage"}
    assert done.json["usage"]["prompt_tokens"] > 0


def test_batch_goes_on_where_it_stopped(run: Run, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"id": n, "prompt": f"row {n}"}) + "\n" for n in range(5)) + '{"id": 5}\n')
    first = run("batch", rows, "--out", out, "--json")
    assert first.json == {"out": str(out), "rows": 6, "skipped": 0, "failed": 1}
    whole = out.read_text()
    out.write_text("".join(line + "\n" for line in whole.splitlines()[:3]) + '{"row": 3, "inp')
    assert run("batch", rows, "--out", out, "--json").json["skipped"] == 3
    assert out.read_text() == whole
    assert [row["id"] for row in run("batch", rows, "--json").rows] == list(range(6))


def test_benchmark_scores_multiple_choice_and_answers(run: Run, tmp_path: Path) -> None:
    task = tmp_path / "exam.jsonl"
    task.write_text('{"question": "Two and two?", "answers": ["four"], "lang": "en"}\n')
    done = run("benchmark", task, "--json")
    assert done.code == 0, done.err
    assert {score["kind"] for score in done.json["scores"]} == {"qa"}
    assert run("benchmark", tmp_path / "missing.jsonl").code == 2
    assert run("benchmark", task, "--expert", "nobody").code == 2
