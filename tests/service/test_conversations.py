"""Conversations and feedback."""

from __future__ import annotations

import json

import pytest

from ckllm.client import RefusedError
from tests.service.serving import Served, chat


def test_a_conversation_keeps_its_turns_and_is_understood_with_them(open_service: Served) -> None:
    with open_service.client() as client:
        talk = client.create_conversation()
        first = client.ask("Who built the ropeway at Gansett?", conversation=talk.id)
        second = client.ask("When was it closed?", conversation=talk.id)
        kept = client.conversation(talk.id)
        assert kept.title == "Who built the ropeway at Gansett?"
        assert [turn.question for turn in kept.turns] == ["Who built the ropeway at Gansett?", "When was it closed?"]
        assert [turn.answer and turn.answer.answer for turn in kept.turns] == [first.answer, second.answer]
        assert second.citations[0].source.endswith("ropeway.txt")
        assert client.rename_conversation(talk.id, "Ropeways").title == "Ropeways"
        assert client.conversations()[0].id == talk.id
        client.delete_conversation(talk.id)
        with pytest.raises(RefusedError):
            client.conversation(talk.id)


def test_a_stream_is_added_to_its_conversation(open_service: Served) -> None:
    with open_service.client() as client:
        talk = client.create_conversation("Canals")
        list(client.stream("How long is the canal of Brenn?", conversation=talk.id))
        kept = client.conversation(talk.id)
    assert kept.title == "Canals"
    assert len(kept.turns) == 1


def test_a_conversation_stays_in_its_collection(open_service: Served) -> None:
    with open_service.client() as client:
        talk = client.create_conversation(collection="no-such-collection")
        with pytest.raises(RefusedError) as refused:
            client.ask("Who built the ropeway?", conversation=talk.id)
    assert refused.value.code == "unknown_collection"


def test_feedback_comes_back_as_rows(open_service: Served) -> None:
    with open_service.client() as client, open_service.http() as http:
        answer = client.ask("How long is the canal of Brenn?")
        first = client.feedback(answer, -1, "too long", correction="Twelve kilometres.")
        raw = http.post("/v1/chat/completions", json=chat("How long is the canal of Brenn?")).json()
        body = {**raw, "answer": raw["choices"][0]["message"]["content"]}
        assert http.post("/v1/feedback", json={"rating": 1, "answer": body}).status_code == 201
        exported = http.get("/v1/feedback/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in exported.text.splitlines()]
    assert [row["rating"] for row in rows] == [-1, 1]
    assert rows[0]["id"] == first
    assert rows[0]["question"] == "How long is the canal of Brenn?"
    assert rows[0]["correction"] == "Twelve kilometres."
    assert rows[0]["answer"]["evidence"][0]["text"]
    assert "choices" not in rows[1]["answer"], "only what is an answer is kept"


def test_feedback_with_numbers_that_json_does_not_have_is_refused(open_service: Served) -> None:
    with open_service.client() as client, open_service.http() as http:
        answer = client.ask("How long is the canal of Brenn?").as_json()
        answer["route"]["confidence"] = float("nan")
        body = json.dumps({"rating": 1, "answer": answer}).encode()
        reply = http.post("/v1/feedback", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422


def test_feedback_on_what_is_nested_too_deep_is_refused(open_service: Served) -> None:
    deep: object = 1
    for _ in range(800):
        deep = {"x": deep}
    with open_service.http() as http:
        reply = http.post("/v1/feedback", json={"rating": 1, "answer": {"route": {"scores": deep}}})
    assert reply.status_code == 422
    assert reply.json()["error"]["type"]
