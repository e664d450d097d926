"""The model in a process of its own answers as it would here, and its death is survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ckllm.config import LlmSettings
from ckllm.contracts import Message
from ckllm.errors import UpstreamError, UsageError
from ckllm.llm.base import GenerationRequest
from ckllm.llm.table import open_llm
from ckllm.service.model_process import ModelProcess
from tests.service.serving import wait_for

SETTINGS = LlmSettings(engine="scripted")
REQUEST = GenerationRequest(messages=(Message("user", "Say this back, please, word by word."),), max_tokens=50)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProcess]:
    with ModelProcess(SETTINGS, tmp_path_factory.mktemp("models")) as opened:
        yield opened


def child(model: ModelProcess) -> psutil.Process:
    assert model._line is not None
    return psutil.Process(model._line._process.pid)


def test_it_gives_what_the_engine_gives(model: ModelProcess, tmp_path: Path) -> None:
    with open_llm(SETTINGS, tmp_path) as here:
        there = model.generate_stream(REQUEST)
        expected = here.generate_stream(REQUEST)
        assert list(there) == list(expected)
        assert (there.usage, there.finish_reason) == (expected.usage, expected.finish_reason)
        assert model.count_tokens(REQUEST.messages) == here.count_tokens(REQUEST.messages)
        assert model.context_length == here.context_length


def test_a_stream_that_is_closed_leaves_the_model_free(model: ModelProcess) -> None:
    stream = model.generate_stream(REQUEST)
    assert next(stream)
    stream.close()
    assert stream.finish_reason == "cancelled"
    assert model._line is not None
    assert not model._line._waiting
    assert model.generate_stream(REQUEST).text()


def test_errors_keep_their_kind(model: ModelProcess) -> None:
    long = GenerationRequest(messages=(Message("user", "word " * 20_000),))
    with pytest.raises(UsageError, match="context"):
        model.generate_stream(long)
    with pytest.raises(UsageError):
        ModelProcess(LlmSettings(engine="openai"), Path()).context_length  # noqa: B018 - opens it


def test_a_killed_process_is_told_and_started_anew(model: ModelProcess) -> None:
    assert model.context_length
    first = child(model)
    first.suspend()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(model.generate_stream, REQUEST)
        wait_for(lambda: model._line is not None and model._line._waiting)
        first.kill()
        with pytest.raises(UpstreamError, match="ended"):
            asked.result(20)
    wait_for(lambda: model._line is not None and model._line.lost)
    assert model.generate_stream(REQUEST).text()
    assert child(model).pid != first.pid


def test_one_that_hangs_is_ended_and_started_anew(model: ModelProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.context_length
    hanging = child(model)
    hanging.suspend()
    with monkeypatch.context() as patch:
        patch.setattr("ckllm.service.model_process.REPLY_S", 0.5)
        with pytest.raises(UpstreamError, match="did not answer"):
            model.generate_stream(REQUEST)
    assert model.generate_stream(REQUEST).text()
    assert child(model).pid != hanging.pid


def test_one_that_falls_silent_midway_is_ended_and_started_anew(model: ModelProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    line = model._open()
    silent = child(model)
    silent.suspend()
    monkeypatch.setattr("ckllm.service.model_process.STALL_S", 0.5)
    with pytest.raises(UpstreamError, match="said nothing"):
        next(model._pieces(line, *line.ask("generate", REQUEST), threading.Event()))
    assert model.generate_stream(REQUEST).text()
    assert child(model).pid != silent.pid


def test_signals_to_the_whole_group_do_not_end_it(model: ModelProcess) -> None:
    assert model.context_length
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child(model).pid, number)
    before = child(model).pid
    assert model.generate_stream(REQUEST).text()
    assert child(model).pid == before


def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ckllm.config import LlmSettings\n"
        "from ckllm.service.model_process import ModelProcess\n"
        "model = ModelProcess(LlmSettings(engine='scripted'), Path(sys.argv[1])); model.context_length\n"
        "print(model._line._process.pid, flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    wait_for(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
