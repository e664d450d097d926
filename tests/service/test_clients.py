"""Clients that people have already: LangChain's ChatOpenAI, and curl."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.service.serving import Served, chat

QUESTION = "Who built the ropeway at Gansett?"


def test_langchains_chat_model_answers_whole_and_streamed(open_service: Served) -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="ckllm", base_url=f"{open_service.url}/v1", api_key="none", max_retries=0, timeout=60)
    whole = model.invoke(QUESTION)
    assert "Odile Ferrand" in whole.content
    assert whole.usage_metadata["total_tokens"] > 0
    pieces = list(model.stream(QUESTION))
    assert "".join(piece.content for piece in pieces) == whole.content
    assert len(model.batch([QUESTION, "How long is the canal of Brenn?"])) == 2


def test_langchains_conversation_is_the_conversation_so_far(open_service: Served) -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="base", base_url=f"{open_service.url}/v1", api_key="none", max_retries=0, timeout=60)
    turns = [("system", "Be brief."), ("human", QUESTION), ("ai", "Odile Ferrand built it."), ("human", "When was it closed?")]
    assert "ropeway at Gansett" in model.invoke(turns).content, "what `it` is, is in the turns before"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_sees_the_stream_event_by_event(open_service: Served) -> None:
    command = ["curl", "--no-buffer", "--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*"]
    command += ["--json", json.dumps(chat(QUESTION, stream=True)), f"{open_service.url}/v1/chat/completions"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert "Odile Ferrand" in text
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["citations"][0]["quote"]
