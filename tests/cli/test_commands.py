"""Commands end to end: JSON keys, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ckllm.contracts import Answer
from ckllm.errors import UpstreamError
from ckllm.knowledge_base import KnowledgeBase
from tests.cli.conftest import Run

HIT_KEYS = {"rank", "score", "text", "source", "title", "page", "section", "start", "end", "document_id", "chunk_id", "found_by"}
ANSWER_KEYS = {"question", "answer", "short_answer", "refused", "sentences", "citations", "route", "evidence", "usage", "timings"}


def test_ingest_reports_and_repeats_without_work(run: Run, notes: Path) -> None:
    first = run("ingest", notes, "--json")
    assert first.code == 0
    assert (first.json["added"], first.json["rejected"], first.json["collection"]) == (3, [], "main")
    second = run("ingest", notes, "--json")
    assert (second.json["added"], second.json["unchanged"], second.json["chunks"]) == (0, 3, 0)


def test_rejected_sources_exit_three_and_the_others_are_taken(run: Run, notes: Path) -> None:
    (notes / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is not a PDF")
    (notes / "empty.txt").write_bytes(b"")
    done = run("ingest", notes, "--json")
    assert done.code == 3
    assert done.json["added"] == 3
    stages = {Path(row["source"]).name: row["stage"] for row in done.json["rejected"]}
    assert stages == {"broken.pdf": "parse", "empty.txt": "detect"}
    assert all(len(row["reason"]) > 8 for row in done.json["rejected"])


def test_a_missing_path_is_rejected_by_name(run: Run, tmp_path: Path) -> None:
    done = run("ingest", tmp_path / "nowhere", "--json")
    assert done.code == 3
    assert [row["stage"] for row in done.json["rejected"]] == ["fetch"]
    assert "nowhere" in done.json["rejected"][0]["source"]


def test_nothing_to_do_is_said_in_words(run: Run, tmp_path: Path) -> None:
    assert "no files were found" in run("ingest", tmp_path).out
    assert "nothing in 'main' has failed" in run("documents", "retry").out
    assert run("documents", "list", "--collection", "nowhere").out.startswith("There is no collection 'nowhere'")
    assert run("documents", "list", "--state", "failed").out.startswith("No failed documents")
    gone = run("collections", "delete", "nowhere")
    assert gone.code == 2
    assert "Delete" not in gone.out + gone.err, "what is not there is not asked about"
    empty = run("ingest", tmp_path, "--group", "")
    assert empty.code == 2
    assert "group" in empty.err


def test_search_gives_exact_spans(run: Run, notes: Path) -> None:
    run("ingest", notes)
    found = run("search", "how long is the bridge", "-k", "2", "--json")
    assert found.code == 0
    assert found.err == ""
    hits = found.json["hits"]
    assert set(hits[0]) >= HIT_KEYS
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    shown = run("documents", "show", hits[0]["document_id"], "--json").json
    assert shown["text"][hits[0]["start"] : hits[0]["end"]] == hits[0]["text"]


def test_search_batch_keeps_order_and_isolates_bad_rows(run: Run, notes: Path, tmp_path: Path) -> None:
    run("ingest", notes)
    file = tmp_path / "queries.jsonl"
    file.write_text('{"id": "a", "query": "ferry cars"}\n{"id": "b"}\nnot json\n\n{"id": "d", "query": "lorry toll"}\n')
    done = run("search", "--batch", file)
    assert done.code == 0
    assert [row.get("id") for row in done.rows] == ["a", "b", None, "d"]
    assert ["hits" in row for row in done.rows] == [True, False, False, True]
    assert done.rows[1]["error"]["type"] == "DataError"


def test_ask_has_the_keys_of_the_contract(run: Run, notes: Path) -> None:
    run("ingest", notes)
    done = run("ask", "How long is the bridge at Wend?", "--json")
    assert done.code == 0, done.err
    answer = done.json
    assert set(answer) >= ANSWER_KEYS
    assert answer["refused"] is bool(answer.get("reason"))
    listed = run("documents", "list", "--json").json
    text = {row["id"]: run("documents", "show", row["id"], "--json").json["text"] for row in listed}
    for citation in answer["citations"]:
        assert text[citation["document_id"]][citation["start"] : citation["end"]] == citation["quote"]


def test_ask_batch_exits_one_only_if_every_row_failed(run: Run, notes: Path, tmp_path: Path) -> None:
    run("ingest", notes)
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"id": 1, "question": ""}) + "\n")
    assert run("ask", "--batch", file).code == 1
    file.write_text(json.dumps({"id": 1, "question": ""}) + "\n" + json.dumps({"id": 2, "question": "ferry?"}) + "\n")
    done = run("ask", "--batch", file)
    assert done.code == 0
    assert [row["id"] for row in done.rows] == [1, 2]
    assert done.rows[0]["error"]["message"]


def test_stream_json_ends_with_the_answer(run: Run, notes: Path) -> None:
    run("ingest", notes)
    done = run("ask", "How many cars does the ferry take?", "--stream", "--json")
    assert done.code == 0, done.err
    assert [row["event"] for row in done.rows][-1] == "done"
    assert set(done.rows[-1]) >= ANSWER_KEYS


def test_documents_can_be_listed_and_removed(run: Run, notes: Path) -> None:
    run("ingest", notes)
    rows = run("documents", "list", "--json").json
    assert {row["state"] for row in rows} == {"LIVE"}
    ferry = next(row["id"] for row in rows if row["source"].endswith("ferry.txt"))
    assert run("documents", "remove", ferry, "--json").json == {"removed": 1}
    assert ferry not in {row["id"] for row in run("documents", "list", "--json").json}
    hits = run("search", "ferry eleven cars", "--json").json["hits"]
    assert all(hit["document_id"] != ferry for hit in hits)


@pytest.mark.parametrize("width", ["80", "200"])
def test_a_listing_shows_whole_ids(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    run("ingest", notes)
    ids = {row["id"] for row in run("documents", "list", "--json").json}
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    monkeypatch.setenv("COLUMNS", width)
    listed = run("documents", "list").out
    assert {one for one in ids if one in listed} == ids
    assert "ferry" in listed


def test_a_listing_in_a_pipe_is_not_cut(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    monkeypatch.setenv("COLUMNS", "80")
    listed = run("documents", "list").out.splitlines()
    assert len(listed) == 4
    assert sum(str(notes) in line for line in listed) == 3


def test_groups_hide_documents_from_users_without_them(run: Run, notes: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("The ferry's safe combination is 77-18-40.\n")
    run("ingest", notes)
    run("ingest", secret, "--group", "harbour")
    assert "77-18-40" in run("search", "ferry safe combination", "--json").out
    assert "77-18-40" not in run("search", "ferry safe combination", "--as", "nobody", "--json").out
    assert "secret.txt" not in run("documents", "list", "--as", "nobody", "--json").out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("search",), 2, "QUERY"),
        (("ask", ""), 2, "empty"),
        (("ask", "x" * 100_000), 2, "20,000"),
        (("search", "x", "--where", "colour == 3"), 2, "colour"),
        (("documents", "show", "no-such-id"), 2, "no-such-id"),
        (("documents", "list", "--state", "odd"), 2, "odd"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_usage_exits_two_with_one_line(run: Run, notes: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    run("ingest", notes)
    done = run(*arguments)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_an_unknown_setting_names_the_nearest(run: Run, home: Path) -> None:
    home.mkdir()
    (home / "ckllm.toml").write_text('[llm]\nengin = "scripted"\n')
    done = run("documents", "list")
    assert done.code == 2
    assert "llm.engine" in done.err


def test_another_embedder_is_refused_by_name(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    monkeypatch.setenv("CKLLM_EMBEDDING__MODEL", "all-MiniLM-L6-v2")
    done = run("search", "ferry")
    assert done.code == 4
    assert "hashing" in done.err
    assert "all-MiniLM-L6-v2" in done.err


def test_an_unreachable_milvus_exits_four(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CKLLM_STORE__URI", "http://127.0.0.1:9")
    done = run("ingest", notes)
    assert done.code == 4
    assert "127.0.0.1:9" in done.err


def test_route_says_why(run: Run) -> None:
    done = run("experts", "route", "Sort a list", "--json")
    assert done.json["expert"] == "qa"
    assert done.json["reason"]


def test_doctor_lists_findings(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.code == 0, done.out
    assert {finding["verdict"] for finding in done.json["findings"]} <= {"ok", "warn", "fail"}


def test_a_trained_router_chooses_and_abstains(run: Run, tmp_path: Path) -> None:
    kinds = {
        "cooking": "bake the {} bread in the oven",
        "sums": "add {} and seven together",
        "out_of_scope": "what a {} day for a walk",
    }
    rows = [{"prompt": text.format(f"number {n}"), "label": label} for label, text in kinds.items() for n in range(20)]
    data = tmp_path / "labelled.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = run("experts", "train-router", "--data", data, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["macro_f1"] > 0.9
    route = run("experts", "route", "bake the number 31 bread in the oven", "--json").json
    assert route["expert"] == "cooking"
    assert set(route["scores"]) >= {"cooking", "sums"}
    assert run("experts", "train-router", "--data", tmp_path / "missing.jsonl").code == 2
    assert run("experts", "train-router", "--data", data, "--head", "oracle").code == 2


def test_chat_answers_line_by_line(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    monkeypatch.setattr(sys, "stdin", io.StringIO("How many cars does the ferry take?\n?\nWho opened the bridge?\n\n"))
    done = run("chat", "--json")
    assert done.code == 0, done.err
    assert [row["question"] for row in done.rows] == ["How many cars does the ferry take?", "Who opened the bridge?"]
    assert all(set(row) >= ANSWER_KEYS for row in done.rows)
    assert "the question is empty" in done.err


def test_chat_goes_on_after_a_model_that_failed(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    ask, failures = KnowledgeBase.ask, iter([UpstreamError("the model is busy")])

    def failing_once(kb: KnowledgeBase, question: str, **options: Any) -> Answer:
        for error in failures:
            raise error
        return ask(kb, question, **options)

    monkeypatch.setattr(KnowledgeBase, "ask", failing_once)
    monkeypatch.setattr(sys, "stdin", io.StringIO("How many cars does the ferry take?\nHow many cars does the ferry take?\n\n"))
    done = run("chat", "--json")
    assert (done.code, len(done.rows)) == (0, 1)
    assert "the model is busy" in done.err


def test_what_cannot_be_watched_is_refused_before_anything_is_done(run: Run, notes: Path) -> None:
    assert run("ingest", notes, "--watch", "https://example.org/").code == 2
    assert run("documents", "list", "--json").json == []


def test_base_alone_and_an_expert_contradict_each_other(run: Run) -> None:
    done = run("ask", "How long is the bridge?", "--only-base", "--expert", "qa")
    assert (done.code, "contradict" in done.err) == (2, True)


def test_an_empty_question_is_not_routed(run: Run) -> None:
    assert run("experts", "route", "?").code == 2
