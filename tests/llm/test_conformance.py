"""What every engine does alike."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ckllm.contracts import Message
from ckllm.errors import UsageError
from ckllm.llm.base import BaseLLM
from tests.llm.conftest import Engine

PROMPTS = (
    "What is the capital of France?",
    "Name three colours and say in one sentence where each of them is found in a garden.",
    "Count.",
    "The lighthouse at Marrow Point was built in 1874 and burned whale oil until 1902. When was it built?",
)


def test_a_batch_equals_its_prompts_one_by_one(engine: Engine) -> None:
    single = [engine.llm.run(prompt) for prompt in PROMPTS]
    assert engine.llm.batch_run(PROMPTS) == single


def test_a_failing_item_does_not_lose_the_batch(engine: Engine) -> None:
    if not engine.llm.context_length:
        pytest.skip("a server's context is not known here")
    long = "word " * (engine.llm.context_length + 10)
    results = engine.llm.batch_run([PROMPTS[0], long, PROMPTS[2]])
    assert results[0] == engine.llm.run(PROMPTS[0])
    assert isinstance(results[1], UsageError)
    assert results[2] == engine.llm.run(PROMPTS[2])


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_stop_string_is_found_across_token_borders_and_cut_off(engine: Engine, shift: int) -> None:
    whole = engine.llm.run(PROMPTS[1])
    pieces = list(engine.llm.stream(PROMPTS[1]))
    border = len(pieces[0]) + len(pieces[1]) if len(pieces) > 2 else len(whole) // 2
    stop = whole[max(0, border - shift) : border + shift]
    with engine.llm.stream(PROMPTS[1], stop=stop) as stream:
        text = stream.text()
    assert text == whole[: whole.index(stop)]
    assert stream.finish_reason == "stop"


def test_a_stop_string_that_does_not_come_changes_nothing(engine: Engine) -> None:
    whole = engine.llm.run(PROMPTS[1])
    assert engine.llm.run(PROMPTS[1], stop=[whole[-4:] + "\0", "\0never"]) == whole


def test_greedy_decoding_repeats_itself(engine: Engine) -> None:
    assert engine.llm.run(PROMPTS[0]) == engine.llm.run(PROMPTS[0])


def test_a_seed_reproduces(engine: Engine) -> None:
    if not engine.samples:
        pytest.skip("it does not sample")
    first = [engine.llm.run(PROMPTS[1], temperature=1.0, seed=seed) for seed in (1, 2, 3)]
    again = [engine.llm.run(PROMPTS[1], temperature=1.0, seed=seed) for seed in (1, 2, 3)]
    assert first == again
    assert len(set(first)) > 1


def test_a_seed_reproduces_beside_other_requests(engine: Engine) -> None:
    if not engine.samples:
        pytest.skip("it does not sample")
    alone = engine.llm.run(PROMPTS[1], temperature=1.0, seed=7)
    with ThreadPoolExecutor(3) as pool:
        beside = [pool.submit(engine.llm.run, prompt, temperature=1.0, seed=11) for prompt in (PROMPTS[0], PROMPTS[3])]
        together = pool.submit(engine.llm.run, PROMPTS[1], temperature=1.0, seed=7)
        assert together.result() == alone
        assert all(future.result() for future in beside)


def test_usage_counts_are_true(engine: Engine) -> None:
    messages = [Message("user", PROMPTS[1])]
    with engine.llm.generate_stream(engine.llm.request(messages, max_tokens=5)) as stream:
        text = stream.text()
    assert stream.finish_reason == "length"
    assert stream.usage.completion_tokens == 5
    assert text
    if engine.counts:
        assert stream.usage.prompt_tokens == engine.llm.count_tokens(messages)
    else:
        assert stream.usage.prompt_tokens == len(PROMPTS[1].split())


def test_the_end_of_an_answer_is_told_from_its_limit(engine: Engine) -> None:
    whole = engine.llm.run(PROMPTS[0], max_tokens=12)
    with engine.llm.stream(PROMPTS[0], max_tokens=12, stop=whole[-3:]) as stream:
        stream.text()
    assert stream.finish_reason == "stop"
    assert stream.usage.completion_tokens <= 12


def test_closing_a_stream_frees_the_model(engine: Engine) -> None:
    stream = engine.llm.stream(PROMPTS[1], max_tokens=200)
    assert next(stream)
    stream.close()
    assert stream.finish_reason == "cancelled"
    assert list(stream) == []
    _wait_until_idle(engine)
    assert engine.llm.run(PROMPTS[0])


def test_a_cancel_event_ends_a_stream_from_another_thread(engine: Engine) -> None:
    cancel = threading.Event()
    stream = engine.llm.generate_stream(engine.llm.request(PROMPTS[1], max_tokens=200), cancel)
    next(stream)
    threading.Thread(target=cancel.set).start()
    list(stream)
    assert cancel.is_set()
    assert stream.finish_reason in ("cancelled", "stop", "length")
    _wait_until_idle(engine)


def test_concurrent_calls_do_not_disturb_each_other(engine: Engine) -> None:
    alone = [engine.llm.run(prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        together = list(pool.map(engine.llm.run, PROMPTS))
    assert together == alone


def test_two_streams_may_be_read_in_turn(engine: Engine) -> None:
    alone = [engine.llm.run(prompt) for prompt in PROMPTS[:2]]
    streams = [engine.llm.stream(prompt) for prompt in PROMPTS[:2]]
    texts = ["", ""]
    while any(stream.finish_reason is None for stream in streams):
        for place, stream in enumerate(streams):
            texts[place] += next(stream, "")
    assert texts == alone


def test_other_scripts_stream_in_whole_characters(engine: Engine) -> None:
    prompt = "दोहराओ: नमस्ते दुनिया, नमस्ते दुनिया, 你好世界, 你好世界, 🙂🙂🙂"
    pieces = list(engine.llm.stream(prompt, max_tokens=24))
    whole = engine.llm.run(prompt, max_tokens=24)
    assert "".join(pieces) == whole
    assert not any("\ufffd" in piece for piece in pieces[:-1])


def test_plain_completion_takes_no_template(engine: Engine) -> None:
    with engine.llm.generate_stream(engine.llm.request(prompt="The three states of water are", max_tokens=4)) as stream:
        assert stream.text()
    if engine.counts:
        assert stream.usage.prompt_tokens < engine.llm.count_tokens([Message("user", "The three states of water are")])


def test_an_overflowing_context_is_refused_with_its_size(engine: Engine) -> None:
    if not engine.llm.context_length:
        pytest.skip("the server knows its context")
    messages = [Message("user", PROMPTS[0])]
    limit = engine.llm.context_length - engine.llm.count_tokens(messages)
    assert engine.llm.generate_stream(engine.llm.request(messages, max_tokens=limit)) is not None
    with pytest.raises(UsageError, match="by 3:"):
        engine.llm.generate_stream(engine.llm.request(messages, max_tokens=limit + 3))


def test_metrics_of_a_call(engine: Engine) -> None:
    engine.llm.run(PROMPTS[0], max_tokens=4)
    metrics = engine.llm.metrics()
    assert metrics["completion_tokens"] == 4
    assert 0 < metrics["time_to_first_token_s"] <= metrics["generation_s"]
    assert metrics["tokens_per_second"] == pytest.approx(4 / metrics["generation_s"])
    assert metrics["rss_mb"] > 10


def _wait_until_idle(engine: Engine) -> None:
    end = time.monotonic() + 20
    while engine.active and time.monotonic() < end:
        time.sleep(0.02)
    assert engine.active == 0


def test_every_engine_is_a_base_llm(engine: Engine) -> None:
    assert isinstance(engine.llm, BaseLLM)
    assert engine.llm.engine == engine.name
