"""Every parameter of the interface: its range, its setter, and what it changes in a request."""

from __future__ import annotations

from typing import Any

import pytest

from ckllm.contracts import Message
from ckllm.errors import UsageError
from ckllm.llm import GenerationRequest, ScriptedLLM


def _model(parameters: dict[str, Any]) -> ScriptedLLM:
    return ScriptedLLM(**parameters)


def _asked(**parameters: Any) -> GenerationRequest:
    """The request that a model with these parameters makes."""
    return ScriptedLLM(**parameters).request("Hello")


def test_model_id_is_what_was_opened() -> None:
    llm = ScriptedLLM()
    assert llm.model_id == "scripted"
    assert llm.model_name == "scripted"


def test_set_model_name() -> None:
    llm = ScriptedLLM()
    llm.set_model_name("narrator")
    assert (llm.model_name, llm.model_id) == ("narrator", "scripted")


def test_max_tokens_bounds_the_answer() -> None:
    llm = ScriptedLLM(lambda _messages: "one two three four", max_tokens=2)
    assert llm.run("count") == "one two"
    llm.set_max_tokens(3)
    assert llm.run("count") == "one two three"


def test_max_length_bounds_prompt_and_answer() -> None:
    llm = ScriptedLLM(lambda _messages: "one two three four")
    prompt = llm.count_tokens([Message("user", "count")])
    llm.set_max_length(prompt + 2)
    assert llm.run("count") == "one two"
    llm.set_max_length(prompt)
    with pytest.raises(UsageError, match="1 too many for max_length"):
        llm.run("count")


def test_temperature() -> None:
    llm = ScriptedLLM()
    llm.set_temperature(0.7)
    request = llm.request("x")
    assert request.temperature == 0.7
    assert request.seed is not None
    assert _asked().temperature == 0


def test_top_k() -> None:
    llm = ScriptedLLM()
    llm.set_top_k(40)
    assert llm.request("x").top_k == 40


def test_top_p() -> None:
    llm = ScriptedLLM()
    llm.set_top_p(0.9)
    assert llm.request("x").top_p == 0.9


def test_system_prompt_goes_first() -> None:
    assert _asked(system_prompt="Be brief.").messages == (Message("system", "Be brief."), Message("user", "Hello"))


def test_role_says_who_speaks_the_task() -> None:
    llm = ScriptedLLM()
    llm.set_role("system")
    assert llm.request("Be brief.").messages == (Message("system", "Be brief."),)


def test_beam_width_and_num_beams_are_one() -> None:
    llm = ScriptedLLM(beam_width=3)
    assert llm.num_beams == 3
    llm.set_num_beams(4)
    assert llm.beam_width == 4
    assert llm.request("x").num_beams == 4


def test_num_return_sequences() -> None:
    llm = ScriptedLLM(["a", "b", "c"], num_return_sequences=3, temperature=0.5, seed=10)
    assert llm.sequences("x") == ["a", "b", "c"]
    assert [request.seed for request in llm.requests] == [10, 11, 12]


def test_several_sequences_need_sampling() -> None:
    with pytest.raises(UsageError, match="needs sampling"):
        ScriptedLLM(num_return_sequences=2).sequences("x")


def test_seed() -> None:
    llm = ScriptedLLM(temperature=1.0)
    llm.set_seed(5)
    assert [llm.request("x").seed, llm.request("x").seed] == [5, 5]
    llm.set_seed(None)
    assert llm.request("x").seed != llm.request("x").seed


def test_frequency_penalty_and_freq_penalty_are_one() -> None:
    llm = ScriptedLLM(freq_penalty=0.5)
    assert llm.frequency_penalty == 0.5
    llm.set_frequency_penalty(-0.5)
    assert llm.freq_penalty == -0.5
    assert llm.request("x").frequency_penalty == -0.5


def test_presence_penalty() -> None:
    llm = ScriptedLLM()
    llm.set_presence_penalty(1)
    assert llm.request("x").presence_penalty == 1.0


def test_repition_penalty_and_repetition_penalty_are_one() -> None:
    llm = ScriptedLLM(repition_penalty=1.2)
    assert llm.repetition_penalty == 1.2
    llm.repetition_penalty = 1.3
    assert llm.repition_penalty == 1.3
    assert llm.request("x").repetition_penalty == 1.3


def test_stop_token() -> None:
    llm = ScriptedLLM(lambda _messages: "one two. three")
    llm.set_stop_token(".")
    assert llm.run("x") == "one two"
    assert llm.run("x", stop=["two"]) == "one "


def test_stop_token_id() -> None:
    assert _asked(stop_token_id=17).stop_token_ids == (17,)


def test_length_penalty() -> None:
    llm = ScriptedLLM()
    llm.set_length_penalty(0.5)
    assert llm.request("x").length_penalty == 0.5


def test_early_stopping() -> None:
    llm = ScriptedLLM()
    llm.set_early_stopping(True)
    assert llm.request("x").early_stopping is True


def test_do_sample() -> None:
    llm = ScriptedLLM(temperature=0.8)
    assert llm.request("x").temperature == 0.8
    llm.set_do_sample(False)
    assert llm.request("x").temperature == 0
    llm.set_do_sample(True)
    llm.set_temperature(0)
    with pytest.raises(UsageError, match="temperature is 0"):
        llm.request("x")


@pytest.mark.parametrize("name", ["pad_token_id", "eos_token_id", "bos_token_id"])
def test_token_ids(name: str) -> None:
    llm = _model({name: 3})
    assert getattr(llm, name) == 3
    setattr(llm, name, None)
    assert getattr(llm, name) is None


def test_device() -> None:
    llm = ScriptedLLM()
    llm.set_device("cpu")
    assert llm.device == "cpu"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0), ("max_tokens", 1.5), ("max_tokens", True), ("max_length", 1), ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")), ("temperature", "hot"), ("top_k", -1), ("top_p", 0), ("top_p", 1.01),
        ("num_beams", 0),
        ("num_return_sequences", 0), ("seed", -1), ("frequency_penalty", 2.5), ("presence_penalty", -2.5),
        ("repition_penalty", 0),
        ("length_penalty", 11), ("role", "tool"), ("do_sample", 1), ("early_stopping", "yes"), ("stop_token", 5),
        ("eos_token_id", -1),
        ("system_prompt", None), ("device", None), ("model_name", 3),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_everywhere_and_changes_nothing(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{name} = "):
        _model({name: value})
    llm = ScriptedLLM()
    before = llm.parameters
    with pytest.raises(UsageError, match=f"{name} = .*expected"):
        setattr(llm, name, value)
    assert llm.parameters == before


@pytest.mark.parametrize(
    ("wrong", "right"), [("temprature", "temperature"), ("max_token", "max_tokens"), ("stop_tokn", "stop_token")]
)
def test_an_unknown_keyword_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{right}'"):
        _model({wrong: 1})
    with pytest.raises(UsageError, match=f"did you mean '{right}'"):
        ScriptedLLM().run("x", **{wrong: 1})


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        ScriptedLLM(repetition_penalty=1.1, repition_penalty=1.2)


def test_what_belongs_to_the_model_cannot_change_for_one_call() -> None:
    with pytest.raises(UsageError, match="set it on the model"):
        ScriptedLLM().run("x", device="cpu")


@pytest.mark.parametrize("stop", ["", [""], [3]])
def test_a_bad_stop_is_refused(stop: object) -> None:
    with pytest.raises(UsageError, match="stop = "):
        ScriptedLLM().run("x", stop=stop)
