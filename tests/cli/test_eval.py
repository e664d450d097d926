"""`ckllm eval`: a folder with its corpus, a user's own questions, baselines, bars, reports, drafts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ckllm.errors import UpstreamError
from ckllm.knowledge_base import KnowledgeBase
from tests.cli.conftest import Run

BRIDGE = "The bridge at Wend was opened in 1931. It is 412 metres long."
FERRY = "The ferry crosses every twenty minutes and takes eleven cars."
MILL = "पुरानी चक्की सन 1871 में बनी थी और आज एक संग्रहालय है।"
CORPUS = [
    {"id": "c-bridge", "title": "Bridge/Wend", "text": BRIDGE, "lang": "en"},
    {"id": "c-ferry", "title": "Ferry", "text": FERRY, "lang": "en"},
    {"id": "c-mill", "title": "Mill", "text": MILL, "lang": "hi"},
]


def question(number: int, text: str, doc: str, part: str, **more: Any) -> dict[str, Any]:
    source = next(str(row["text"]) for row in CORPUS if row["id"] == doc)
    start = source.index(part)
    span = {"doc": doc, "start": start, "end": start + len(part), "text": part}
    row = {"id": f"q{number}", "question": text, "lang": "en", "answers": [part], "answerable": True, "evidence_mode": "any"}
    return row | {"evidence": [span]} | more


QUESTIONS = [
    question(1, "When was the bridge at Wend opened? The bridge at Wend was opened in", "c-bridge", "1931"),
    question(2, "How long is it? It is metres long, the bridge at Wend", "c-bridge", "412 metres"),
    question(3, "How many cars does the ferry take? The ferry crosses every twenty minutes and takes", "c-ferry", "eleven cars"),
    question(4, "पुरानी चक्की सन में बनी थी और आज एक संग्रहालय है?", "c-mill", "1871", lang="hi"),
    {"id": "q5", "question": "Who won the football cup in Lisbon?", "lang": "en", "answers": [], "answerable": False,
     "evidence_mode": "none", "evidence": [], "paired_doc": "c-ferry"},
    {"id": "q6", "question": "Which documents speak of the ferry that crosses every twenty minutes and takes eleven cars?",
     "lang": "en", "answers": [], "answerable": True, "evidence_mode": "graded",
     "evidence": [{"doc": "c-ferry", "start": None, "end": None, "text": None, "grade": 3},
                  {"doc": "c-bridge", "start": None, "end": None, "text": None, "grade": 1}]},
]  # fmt: skip


def lines(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines(tmp_path / "set/corpus.jsonl", CORPUS)
    lines(tmp_path / "set/questions.jsonl", QUESTIONS)
    return tmp_path / "set"


def test_a_folder_is_ingested_elsewhere_and_scored(run: Run, folder: Path, home: Path, tmp_path: Path) -> None:
    done = run("eval", folder, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    report = done.json
    found = report["metrics"]
    assert found["recall@1"] >= 0.8
    assert found["recall@10"] == 1.0
    assert 0 < found["ndcg@10"] <= 1
    assert found["refused_unanswerable"] == 1.0
    assert found["citation_precision"] > 0.5
    assert found["failed"] == 0
    assert 0 <= found["refusal_balanced_accuracy"] <= 1
    assert 0.7 <= found["verification_recall"] <= 1
    assert found["verification_precision"] >= 0.7
    assert report["counts"]["verification_recall"] == 3
    assert report["statements"][""]["supported: quoted"] == [3, 3]
    assert report["statements"]["hi"]["supported: quoted"] == [1, 1]
    assert found["latency_total_p95_s"] >= found["latency_total_p50_s"] > 0
    assert report["counts"]["recall@1"] == 5
    assert set(report["by_language"]) == {"en", "hi"}
    assert report["about"]["questions"] == 6
    assert json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["rows"][0]["id"] == "q1"
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<h2>Verification</h2>" in page
    assert "supported: quoted" in page
    assert not run("documents", "list", "--json").json
    assert [file.suffix for file in sorted((home / "evaluations").iterdir())] == [".html", ".json"]


def test_spans_of_a_corpus_are_the_documents_spans(run: Run, folder: Path) -> None:
    """Citations that quote the right sentence touch the gold span, so recall by span is that of the answers."""
    rows = json.loads(Path(run("eval", folder, "--json").json["saved"]).read_text(encoding="utf-8"))["rows"]
    assert all(row["unplaced"] == 0 for row in rows)
    by_id = {row["id"]: row for row in rows}
    assert by_id["q1"]["scores"]["citation_recall"] == 1.0
    assert 0 < by_id["q1"]["scores"]["citation_char_precision"] < 1
    assert by_id["q1"]["scores"]["citation_char_recall"] == 1.0


def test_rows_of_one_title_as_one_document(run: Run, tmp_path: Path) -> None:
    parts = [{"id": f"p{n}", "title": "Wend", "text": text} for n, text in enumerate((BRIDGE, FERRY))]
    asked = [{"id": "q", "question": "The ferry crosses every twenty minutes?", "answers": ["twenty minutes"],
              "evidence": [{"doc": "p1", "start": 23, "end": 37, "text": FERRY[23:37]}]}]  # fmt: skip
    lines(tmp_path / "set/corpus.jsonl", parts)
    lines(tmp_path / "set/questions.jsonl", asked)
    done = run("eval", tmp_path / "set", "--articles", "--work", tmp_path / "kept", "--json")
    assert done.json["metrics"]["recall@1"] == 1.0, done.err
    assert done.json["metrics"]["citation_recall"] == 1.0
    again = run("eval", tmp_path / "set", "--articles", "--work", tmp_path / "kept", "--search-only", "--json")
    assert again.json["metrics"]["recall@1"] == 1.0
    assert "f1" not in again.json["metrics"]


def test_a_users_own_questions(run: Run, notes: Path, tmp_path: Path) -> None:
    run("ingest", notes)
    rows = [
        {
            "question": "The bridge at Wend was opened in 1931?",
            "answers": ["1931"],
            "evidence": [{"doc": "bridge.md", "text": "1931"}],
        },
        {"question": "The ferry crosses every twenty minutes?"},
        {"question": "Who won the football cup in Lisbon?", "answerable": False},
    ]
    done = run("eval", lines(tmp_path / "mine.jsonl", rows), "--json")
    assert done.code == 0, done.err
    assert done.json["counts"]["recall@1"] == 1
    assert done.json["metrics"]["recall@5"] == 1.0
    assert done.json["counts"]["decision"] == 2
    assert run("eval", tmp_path / "mine.jsonl", "--collection", "nowhere").code == 2
    rows[0]["evidence"] = [{"doc": "bridge.md", "text": "1832"}]
    lost = run("eval", lines(tmp_path / "mine.jsonl", rows), "--json")
    assert lost.json["metrics"]["recall@10"] == lost.json["metrics"]["citation_recall"] == 0
    assert "1 evidence items are not in the documents" in lost.err


def test_a_fall_is_found_and_a_bar_holds(run: Run, folder: Path, tmp_path: Path) -> None:
    saved = Path(run("eval", folder, "--json").json["saved"])
    same = run("eval", folder, "--baseline", saved, "--json")
    assert same.code == 0, same.err
    assert {one["verdict"] for one in same.json["changes"]} == {"same"}
    better = json.loads(saved.read_text(encoding="utf-8"))
    for row in better["rows"]:
        row["scores"] = dict.fromkeys(row["scores"], 2.0)
    (tmp_path / "better.json").write_text(json.dumps(better), encoding="utf-8")
    worse = run("eval", folder, "--baseline", tmp_path / "better.json")
    assert worse.code == 1
    assert "recall@1 fell from 2.0000" in worse.err
    assert run("eval", folder, "--fail-below", "recall@10=0.99").code == 0
    low = run("eval", folder, "--fail-below", "recall@10=1.01", "--fail-below", "nonsense=1")
    assert low.code == 1
    assert "recall@10 = 1.0000 is below 1.01" in low.err
    assert "nonsense was not measured" in low.err


@pytest.mark.parametrize("bar", ["recall@5", "recall@5=high", "latency_total_p50_s=1", "=1"])
def test_bars_that_make_no_sense(run: Run, folder: Path, bar: str) -> None:
    assert run("eval", folder, "--fail-below", bar).code == 2


def test_a_baseline_that_is_none_is_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"format": 1}', encoding="utf-8")
    assert "no saved run" in run("eval", folder, "--baseline", tmp_path / "x.json").err
    assert run("eval", folder, "--baseline", tmp_path / "missing.json").code == 2
    assert run("eval", tmp_path / "nowhere").code == 2


def test_a_question_that_fails_leaves_the_others_alone(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = KnowledgeBase.ask

    def failing(self: KnowledgeBase, question: str, **options: Any) -> Any:
        if "metres long" in question:
            raise UpstreamError("the server is away")
        return ask(self, question, **options)

    monkeypatch.setattr(KnowledgeBase, "ask", failing)
    done = run("eval", folder, "--json")
    assert done.code == 0, done.err
    assert done.json["metrics"]["failed"] == pytest.approx(1 / 6, abs=1e-4)
    assert done.json["counts"]["f1"] == 4
    rows = json.loads(Path(done.json["saved"]).read_text(encoding="utf-8"))["rows"]
    assert [row["error"] for row in rows if row["error"]] == ["UpstreamError: the server is away"]


def test_an_interrupted_run_is_saved(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, asked = KnowledgeBase.ask, []

    def interrupted(self: KnowledgeBase, question: str, **options: Any) -> Any:
        asked.append(question)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(self, question, **options)

    monkeypatch.setattr(KnowledgeBase, "ask", interrupted)
    done = run("eval", folder, "--json")
    assert done.code == 130
    assert done.json["about"]["questions"] == 2


def test_the_levels_of_caution_are_marked_on_the_curve(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("eval", folder, "--levels", "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    points = done.json["operating_points"]
    assert list(points) == ["strict", "balanced", "open"]
    assert points["strict"][0] <= points["balanced"][0] <= points["open"][0]
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert html.count("<circle") == 3
    one = run("eval", folder, "--json")
    assert one.json["operating_points"] == {"balanced": points["balanced"]}


def test_the_page_is_whole_and_escaped(run: Run, tmp_path: Path, notes: Path) -> None:
    run("ingest", notes)
    hostile = "<script>alert(1)</script> the ferry crosses every twenty minutes?"
    rows = [{"question": hostile, "answers": ["<img src=x onerror=y>"], "lang": "en"}]
    done = run("eval", lines(tmp_path / "mine.jsonl", rows), "--out", tmp_path / "out")
    assert done.code == 0, done.err
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html.replace("http-equiv", "")


def test_questions_are_drafted_from_a_collection(run: Run, tmp_path: Path) -> None:
    text = (
        "The mill in Wend was built by Anna Keller in 1871 near the river. It was bought by the Boat Trust in 1902 for the town."
    )
    (tmp_path / "mill.txt").write_text(text, encoding="utf-8")
    run("ingest", tmp_path / "mill.txt")
    file = tmp_path / "draft.jsonl"
    made = run("eval", "make", "main", "--out", file, "--json")
    assert made.code == 0, made.err
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert made.json["questions"] == len(rows) == 2
    for row in rows:
        (span,) = row["evidence"]
        assert text[span["start"] : span["end"]] == span["text"]
        assert row["answers"][0] in span["text"]
        assert row["answers"][0] not in row["question"]
    scored = run("eval", file, "--json")
    assert scored.code == 0, scored.err
    assert scored.json["metrics"]["recall@1"] == 1.0
    assert "there already" in run("eval", "make", "main", "--out", file).err
    assert run("eval", "make", "nowhere", "--out", tmp_path / "x").code == 2


def test_people_get_a_table(run: Run, folder: Path) -> None:
    done = run("eval", folder, "--limit", "4")
    assert done.code == 0, done.err
    assert "recall@1" in done.out
    assert "supported: quoted" in done.out
    assert "4/4 questions, 0 failed" in done.err
