"""OpenAI's protocol with citations, and the typed client, against a real service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckllm.client import RefusedError
from ckllm.contracts import Done, Message, Retrieved, Routed, Token, Verified
from ckllm.errors import UnknownDocumentError
from ckllm.evaluation.run import Report, save
from tests.service.serving import Served, chat

QUESTION = "Who built the ropeway at Gansett?"
EXTENSIONS = {"citations", "sentences", "route", "refused", "evidence", "reason", "short_answer", "quoted", "timings", "question"}


def events(body: str) -> list[Any]:
    datas = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def test_a_completion_is_openais_object_with_the_answer_beside_it(open_service: Served) -> None:
    with open_service.http() as http:
        value = http.post("/v1/chat/completions", json=chat(QUESTION)).json()
        text = http.get(f"/v1/documents/{value['citations'][0]['document_id']}/text").json()["text"]
    assert value["object"] == "chat.completion"
    assert value["choices"][0]["finish_reason"] == "stop"
    assert "Odile Ferrand" in value["choices"][0]["message"]["content"]
    assert value["usage"]["total_tokens"] == value["usage"]["prompt_tokens"] + value["usage"]["completion_tokens"] > 0
    assert set(value) >= EXTENSIONS
    for citation in value["citations"]:
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_the_pieces_of_a_stream_are_the_answer_and_nothing_unverified(open_service: Served) -> None:
    body = chat(QUESTION, stream=True)
    with open_service.http() as http:
        response = http.post("/v1/chat/completions", json=body)
        whole = http.post("/v1/chat/completions", json=chat(QUESTION)).json()
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, end = events(response.text)
    assert end == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert not any("draft" in chunk["choices"][0]["delta"] for chunk in chunks)
    last = chunks[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert set(last) >= EXTENSIONS
    assert last["citations"] == whole["citations"]


def test_a_draft_is_sent_on_request_and_apart_from_the_content(open_service: Served) -> None:
    body = chat(QUESTION, stream=True, draft=True, stream_options={"include_usage": True})
    with open_service.http() as http:
        *chunks, _ = events(http.post("/v1/chat/completions", json=body).text)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0
    drafts = [c["choices"][0]["delta"]["draft"] for c in chunks[:-1] if "draft" in c["choices"][0]["delta"]]
    assert "Odile Ferrand" in "".join(drafts)
    contents = [n for n, c in enumerate(chunks[:-1]) if c["choices"][0]["delta"].get("content")]
    last_draft = max(n for n, c in enumerate(chunks[:-1]) if "draft" in c["choices"][0]["delta"])
    assert min(contents) > last_draft


def test_an_answer_that_reaches_its_limit_of_tokens_says_so(open_service: Served) -> None:
    with open_service.http() as http:
        value = http.post("/v1/chat/completions", json=chat(QUESTION, max_tokens=3)).json()
    assert value["usage"]["completion_tokens"] == 3
    assert value["choices"][0]["finish_reason"] == "length"


def test_an_answer_that_ends_with_its_last_token_is_not_cut_off(open_service: Served) -> None:
    with open_service.http() as http:
        whole = http.post("/v1/chat/completions", json=chat(QUESTION)).json()["usage"]["completion_tokens"]
        just = http.post("/v1/chat/completions", json=chat(QUESTION, max_tokens=whole)).json()
        *chunks, _ = events(http.post("/v1/chat/completions", json=chat(QUESTION, max_tokens=whole - 1, stream=True)).text)
    assert (just["usage"]["completion_tokens"], just["choices"][0]["finish_reason"]) == (whole, "stop")
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_a_refusal_has_its_reason(open_service: Served) -> None:
    with open_service.http() as http:
        value = http.post("/v1/chat/completions", json=chat("What does quantum chromodynamics say about gluons?")).json()
    assert value["refused"]
    assert value["reason"]
    assert value["citations"] == value["sentences"] == []
    assert value["reason"] in value["choices"][0]["message"]["content"]


def test_parts_of_text_and_earlier_turns_are_understood(open_service: Served) -> None:
    turns = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Odile Ferrand."},
        {"role": "user", "content": [{"type": "text", "text": "When was it closed?"}]},
    ]
    with open_service.http() as http:
        value = http.post("/v1/chat/completions", json={"model": "base", "messages": turns, "temperature": 0, "user": "x"}).json()
    assert value["question"] == "When was it closed?"
    assert value["citations"][0]["source"].endswith("ropeway.txt")
    assert value["route"]["expert"] == "base"


@pytest.mark.parametrize("fields", [{"only_base": True}, {"experts": ["base"]}, {"top_experts": 2, "top_k": 5}, {"k": 1}])
def test_extension_fields_are_taken(open_service: Served, fields: dict[str, Any]) -> None:
    with open_service.http() as http:
        value = http.post("/v1/chat/completions", json=chat(QUESTION, **fields)).json()
    assert value["choices"][0]["message"]["content"]
    assert len(value["evidence"]) <= fields.get("k", 100)


def test_models_collections_and_experts(open_service: Served) -> None:
    with open_service.client() as client:
        assert client.models()[:2] == ["ckllm", "base"]
        assert [(one.name, one.documents) for one in client.collections()] == [("main", 2)]
        assert client.experts()[0].name == "base"
        assert client.route("What is this?").expert
        assert client.ready()
        assert client.health()["status"] == "ok"


def test_the_client_speaks_the_contract(open_service: Served) -> None:
    base = open_service.core.base()
    with open_service.client() as client:
        found = client.search(QUESTION, k=2)
        assert found.hits == tuple(base.search(QUESTION, k=2))
        here, there = base.ask(QUESTION), client.ask(QUESTION)
        assert (there.answer, there.citations, there.sentences) == (here.answer, here.citations, here.sentences)
        assert client.documents() == base.documents()
        row = client.documents(state="live")[0]
        assert client.document(row.id) == row
        assert client.document_text(row.id) == base.document_text(row.id)
        with pytest.raises(UnknownDocumentError):
            client.document("0" * 32)
        with pytest.raises(RefusedError) as refused:
            client.ask(QUESTION, model="no-such-expert")
        assert (refused.value.status, refused.value.code) == (404, "unknown_model")


def test_the_client_streams_the_events_of_the_knowledge_base(open_service: Served) -> None:
    with open_service.client() as client:
        kinds = [type(event) for event in client.stream(QUESTION, history=[Message("user", "Hello"), Message("assistant", "Hi")])]
        done = list(client.stream(QUESTION))[-1]
    assert kinds[:2] == [Retrieved, Routed]
    assert kinds[-2:] == [Verified, Done]
    assert set(kinds[2:-2]) == {Token}
    assert isinstance(done, Done)
    assert done.answer.answer == open_service.core.base().ask(QUESTION).answer


def test_search_takes_a_condition(open_service: Served) -> None:
    with open_service.http() as http:
        both = http.post("/v1/search", json={"query": "built", "k": 5}).json()["hits"]
        one = http.post("/v1/search", json={"query": "built", "k": 5, "where": {"title": "canal.txt"}}).json()["hits"]
    assert len({hit["source"] for hit in both}) == 2
    assert {hit["title"] for hit in one} == {"canal.txt"}


def test_the_api_is_described_without_anything_from_elsewhere(open_service: Served) -> None:
    with open_service.http() as http:
        paths = http.get("/openapi.json").json()["paths"]
        page = http.get("/docs").text
    for path in (
        "/v1/chat/completions",
        "/v1/search",
        "/v1/documents",
        "/v1/jobs/{job_id}/events",
        "/v1/conversations",
        "/metrics",
    ):
        assert path in paths
        assert path in page
    assert "<script" not in page
    assert "http://" not in page.replace("https://example", "")


def test_saved_evaluations_are_told_without_their_rows(open_service: Served) -> None:
    points = {"balanced": (0.9, 0.1)}
    report = Report({"dataset": "trial"}, {"f1": 0.5}, {"f1": 2}, {"en": {"f1": 0.5}}, [(0.5, 0.1)], [], points)
    save(report, open_service.core.settings.home / "evaluations" / "trial.json")
    with open_service.client() as client:
        (told,) = client.evaluations()
    assert "rows" not in told
    for part in ("about", "metrics", "counts", "by_language", "risk_coverage", "operating_points"):
        assert told[part] == report.as_json(rows=False)[part]


def test_metrics_count_answers(open_service: Served) -> None:
    with open_service.http() as http:
        http.post("/v1/chat/completions", json=chat(QUESTION))
        text = http.get("/metrics").text
    assert 'ckllm_answers_total{outcome="generated"}' in text
    assert 'ckllm_requests_total{method="POST",route="/v1/chat/completions",status="200"}' in text
    assert 'ckllm_stage_seconds_count{stage="retrieve"}' in text
    assert "Gansett" not in text
