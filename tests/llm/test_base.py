"""Every method of the interface, on the scripted engine."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ckllm.contracts import Message
from ckllm.errors import DataError, UpstreamError, UsageError
from ckllm.llm import BaseLLM, ScriptedLLM
from ckllm.llm.scripted import Fault
from ckllm.llm.state import CREATIVE


def _echo(messages: Sequence[Message]) -> str:
    return f"You said {messages[-1].content}"


@pytest.fixture
def llm() -> ScriptedLLM:
    return ScriptedLLM(_echo)


def test_the_interface_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseLLM("x")  # type: ignore[abstract]


def test_run_and_call(llm: ScriptedLLM) -> None:
    assert llm.run("hello") == llm("hello") == "You said hello"
    assert llm.run([Message("user", "a"), Message("assistant", "b"), Message("user", "c")]) == "You said c"


def test_extras_reach_every_variant(llm: ScriptedLLM) -> None:
    async def later() -> None:
        assert await llm.arun("x", max_tokens=2) == "You said"
        assert await llm.abatch_run(["x"], max_tokens=2) == ["You said"]

    assert llm.run("x", max_tokens=2) == llm("x", max_tokens=2) == "You said"
    assert llm.batch_run(["x"], max_tokens=2) == ["You said"]
    assert llm.chat("x", max_tokens=2) == "You said"
    asyncio.run(later())
    assert [request.max_tokens for request in llm.requests] == [2] * 6


def test_cancelling_arun_cancels_the_generation() -> None:
    slow = ScriptedLLM(lambda _messages: "word " * 200, fault=Fault(delay_s=0.05))

    async def begin_and_cancel() -> None:
        task = asyncio.create_task(slow.arun("x"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(begin_and_cancel())
    end = time.monotonic() + 5
    while slow.active and time.monotonic() < end:
        time.sleep(0.01)
    assert slow.active == 0


def test_batch_run_keeps_order_and_survives_failures() -> None:
    def answer(messages: Sequence[Message]) -> str:
        if messages[-1].content == "3":
            raise UpstreamError("no third")
        time.sleep(0.02 if messages[-1].content == "1" else 0)
        return messages[-1].content

    results = ScriptedLLM(answer).batch_run([str(n) for n in range(1, 7)])
    assert [result for result in results if isinstance(result, str)] == ["1", "2", "4", "5", "6"]
    assert isinstance(results[2], UpstreamError)


def test_batch_run_is_bounded() -> None:
    under_way, most = 0, 0
    guard = threading.Lock()

    def answer(messages: Sequence[Message]) -> str:
        nonlocal under_way, most
        with guard:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with guard:
            under_way -= 1
        return messages[-1].content

    assert len(ScriptedLLM(answer, max_concurrency=2).batch_run([str(n) for n in range(12)])) == 12
    assert most == 2


def test_an_unexpected_error_is_one_item_too() -> None:
    def answer(messages: Sequence[Message]) -> str:
        return {"good": "yes"}[messages[-1].content]

    results = ScriptedLLM(answer).batch_run(["good", "bad"])
    assert results[0] == "yes"
    assert isinstance(results[1], KeyError)


def test_chat_sends_the_turns_oldest_first_and_remembers(llm: ScriptedLLM) -> None:
    llm.system_prompt = "Be kind."
    llm.chat("one")
    llm.chat("two")
    assert [message.content for message in llm.requests[-1].messages] == ["Be kind.", "one", "You said one", "two"]
    assert [message.role for message in llm.history] == ["user", "assistant", "user", "assistant"]


def test_a_failed_turn_is_not_remembered() -> None:
    llm = ScriptedLLM([UpstreamError("down"), "fine"])
    with pytest.raises(UpstreamError):
        llm.chat("one")
    assert llm.history == []
    assert llm.chat("two") == "fine"


def test_clear_history(llm: ScriptedLLM) -> None:
    llm.chat("one")
    llm.clear_history()
    assert llm.history == []


def test_num_tokens(llm: ScriptedLLM) -> None:
    assert llm._num_tokens("three small words") == 3


def test_generate_summary_of_a_long_text_goes_by_parts() -> None:
    llm = ScriptedLLM(lambda messages: f"sum{len(messages[-1].content)}", context_length=200, max_tokens=20)
    assert llm.generate_summary("short text").startswith("sum")
    assert len(llm.requests) == 1
    llm.generate_summary("word " * 400)
    assert len(llm.requests) > 4
    assert max(llm.count_tokens(request.messages) for request in llm.requests) <= 180


def test_times_of_a_call() -> None:
    llm = ScriptedLLM(lambda _messages: "one two three", fault=Fault(delay_s=0.02))
    with pytest.raises(UsageError, match="run the model first"):
        llm.metrics()
    llm.run("x")
    assert llm.start_time is not None
    assert llm.end_time is not None
    assert llm.end_time - llm.start_time == pytest.approx(llm.get_generation_time())
    assert llm.get_generation_time() >= 0.06
    assert llm._tokens_per_second() == pytest.approx(3 / llm.get_generation_time())
    assert llm.metrics()["prompt_tokens"] == llm.count_tokens([Message("user", "x")])


def test_measuring_calls() -> None:
    llm = ScriptedLLM(lambda _messages: "one two three four", fault=Fault(delay_s=0.02))
    assert 0.08 <= llm._time_for_generation("x") < 5
    assert 0.08 <= llm.generation_latency("x") < 5
    assert 0 < llm.throughput(["x", "y"]) <= 8 / 0.08
    slow = ScriptedLLM(lambda _messages: "word " * 30, fault=Fault(delay_s=0.05))
    assert 0.04 <= slow.time_to_first_token("x") < 1.5  # the least that the whole answer takes


def test_throughput_raises_what_failed() -> None:
    with pytest.raises(UpstreamError, match="no answer left"):
        ScriptedLLM(["one"]).throughput(["x", "y"])


def test_logging_is_of_one_instance(tmp_path: Path) -> None:
    first, second = ScriptedLLM(_echo), ScriptedLLM(_echo)
    first.enable_logging(tmp_path / "first.log")
    first.log_event("begun")
    second.log_event("not seen")
    first.run("secret words")
    logged = (tmp_path / "first.log").read_text(encoding="utf-8")
    assert "begun" in logged
    assert "completion_tokens=4" in logged
    assert "secret" not in logged
    assert "not seen" not in logged
    first.enable_logging(tmp_path / "second.log", logging.WARNING)
    first.log_event("quiet")
    assert (tmp_path / "first.log").read_text(encoding="utf-8") == logged


def test_a_log_that_cannot_be_written_is_refused(llm: ScriptedLLM, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write the log file"):
        llm.enable_logging(tmp_path / "missing" / "x.log")


def test_creative_mode_is_reversible(llm: ScriptedLLM) -> None:
    llm.set_temperature(0.3)
    before = llm.parameters
    assert llm.toggle_creative_mode() is True
    assert {name: llm.parameters[name] for name in CREATIVE} == CREATIVE
    assert llm.toggle_creative_mode(True) is True
    assert llm.toggle_creative_mode(False) is False
    assert llm.parameters == before


def test_track_resource_utilization(llm: ScriptedLLM) -> None:
    used = llm.track_resource_utilization()
    assert set(used) == {"rss_mb", "cpu_percent", "gpu_memory_mb"}
    assert used["rss_mb"] is not None
    assert used["rss_mb"] > 5
    assert used["cpu_percent"] is not None


def test_a_checkpoint_round_trips(tmp_path: Path) -> None:
    llm = ScriptedLLM(_echo, temperature=0.4, system_prompt="नमस्ते", stop_token="END", max_tokens=9)
    llm.chat("one")
    llm.toggle_creative_mode(True)
    llm.adapters = {"sailing": 0.7}
    llm.save_checkpoint(tmp_path / "state.json")
    next_seeds = [llm.request("x").seed for _ in range(3)]
    other = ScriptedLLM(_echo)
    other.load_checkpoint(tmp_path / "state.json")
    assert other.parameters == llm.parameters
    assert other.history == llm.history
    assert other.adapters == {"sailing": 0.7}
    assert [other.request("x").seed for _ in range(3)] == next_seeds
    other.toggle_creative_mode(False)
    assert other.temperature == 0.4
    assert list(tmp_path.iterdir()) == [tmp_path / "state.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a checkpoint"), ({"version": 99}, "version 99"),
        ({"model_id": "llama"}, "of the model 'llama'"),
        ({"parameters": {}}, "damaged"), ({"history": [{"role": "tool", "content": "x"}]}, "damaged"),
        ({"random_state": [3, [1], None]}, "damaged"),
        ({"history": 5}, "damaged"), ({"parameters": {"temperature": 9}}, "damaged"),
    ],
)  # fmt: skip
def test_a_foreign_checkpoint_is_refused_and_changes_nothing(
    llm: ScriptedLLM, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "state.json"
    llm.save_checkpoint(file)
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change), encoding="utf-8")
    llm.set_max_tokens(7)
    before = llm.parameters
    with pytest.raises(DataError, match=message):
        llm.load_checkpoint(file)
    assert llm.parameters == before


def test_a_checkpoint_that_is_none_is_refused(llm: ScriptedLLM, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        llm.load_checkpoint(tmp_path / "missing.json")
    (tmp_path / "x.json").write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(DataError, match="not a checkpoint"):
        llm.load_checkpoint(tmp_path / "x.json")


def test_a_closed_model_refuses(llm: ScriptedLLM) -> None:
    llm.close()
    llm.close()
    with pytest.raises(UsageError, match="was closed"):
        llm.run("x")


def test_a_fault_in_the_middle_leaves_no_finish_reason() -> None:
    llm = ScriptedLLM(lambda _messages: "one two three", fault=Fault(fail_after=2))
    stream = llm.stream("x")
    with pytest.raises(UpstreamError):
        stream.text()
    assert stream.finish_reason is None
    assert stream.usage.completion_tokens == 2
    assert llm.active == 0


def test_the_scripted_engine_refuses_when_its_queue_is_empty() -> None:
    with pytest.raises(UpstreamError, match="queue more"):
        ScriptedLLM([]).run("x")


@pytest.mark.parametrize("task", [None, 7, [], ["a text"], {"role": "user"}, [{"role": "user", "content": "x"}]])
def test_what_is_no_task_is_refused(llm: ScriptedLLM, task: Any) -> None:
    with pytest.raises(UsageError, match="a task is a text"):
        llm.run(task)
    with pytest.raises(UsageError, match="a batch is a list"):
        llm.batch_run("one text")


@pytest.mark.parametrize("given", [{"temperature": 0.5}, {"frequency_penalty": 0.5}, {"presence_penalty": -0.5}])
def test_what_beams_do_not_take_is_refused(llm: ScriptedLLM, given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="num_beams"):
        llm.run("x", num_beams=2, **given)
