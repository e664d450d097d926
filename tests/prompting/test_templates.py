"""Rendering against the families' published Jinja templates, written out here."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.contracts import Message
from ckllm.errors import UsageError
from ckllm.prompting.render import break_markers, render
from ckllm.prompting.templates import profile, profile_of, profiles

BOS, EOS = "<s>", "</s>"

REFERENCE = {
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\n' }}"
    ),
    "smollm2": (
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}"
    ),
    "llama-3": (
        "{{ bos }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + (m.content | trim) + '<|eot_id|>' }}{% endfor %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    ),
    "llama-2": (
        "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0].content %}"
        "{% else %}{% set turns = messages %}{% set system = false %}{% endif %}"
        "{% for m in turns %}{% if loop.index0 == 0 and system is not false %}"
        "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m.content %}"
        "{% else %}{% set content = m.content %}{% endif %}"
        "{% if m.role == 'user' %}{{ bos + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + content.strip() + ' ' + eos }}{% endif %}{% endfor %}"
    ),
    "mistral": (
        "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0].content %}"
        "{% else %}{% set turns = messages %}{% endif %}{{ bos }}"
        "{% for m in turns %}{% if m.role == 'user' %}{% if loop.first and system is defined %}"
        "{{ ' [INST] ' + system + '\n\n' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' [INST] ' + m.content + ' [/INST]' }}{% endif %}"
        "{% else %}{{ ' ' + m.content + eos }}{% endif %}{% endfor %}"
    ),
    "gemma": (
        "{{ bos }}{% if messages[0].role == 'system' %}"
        "{% set first = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}"
        "{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' "
        "+ (first if loop.first else '') + (m.content | trim) + '<end_of_turn>\n' }}{% endfor %}{{ '<start_of_turn>model\n' }}"
    ),
    "krutrim-instruct": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ '<|SYSTEM|> ' + m.content + '\n' }}"
        "{% elif m.role == 'user' %}{{ '<|USER|> ' + m.content + '\n' }}"
        "{% else %}{{ '<|RESPONSE|>\n' + m.content + eos }}{% endif %}{% endfor %}{{ '<|RESPONSE|>\n' }}"
    ),
    "plain": (
        "{% for m in messages %}{{ m.content }}{{ '\n\n' if m.role == 'system' else '\n' }}{% endfor %}"
    ),
}  # fmt: skip

_words = st.text(max_size=40)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """A system turn or none, then user and assistant in turn, ending with the user."""
    turns = draw(st.lists(_words, min_size=1, max_size=7).filter(lambda texts: len(texts) % 2 == 1))
    roles: tuple[Any, Any] = ("user", "assistant")
    result = [Message(roles[place % 2], text) for place, text in enumerate(turns)]
    system = draw(st.none() | _words)
    return result if system is None else [Message("system", system), *result]


@pytest.mark.parametrize("name", sorted(REFERENCE))
@settings(deadline=None, max_examples=50)
@given(conversation=conversations())
def test_rendering_equals_the_reference_template(name: str, conversation: list[Message]) -> None:
    environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True)
    rows = [{"role": message.role, "content": message.content} for message in conversation]
    expected = environment.from_string(REFERENCE[name]).render(messages=rows, bos=BOS, eos=EOS)
    segments = render(conversation, profile(name), BOS, EOS)
    assert "".join(segment.text for segment in segments) == expected


def test_every_profile_has_a_reference() -> None:
    assert set(REFERENCE) == set(profiles())


@pytest.mark.parametrize("name", sorted(set(REFERENCE) - {"plain"}))
def test_a_reference_template_is_recognised(name: str) -> None:
    expected = "smollm2" if name == "smollm2" else name
    assert profile_of(REFERENCE[name]).name == expected


def test_a_model_without_template_gets_the_plain_profile() -> None:
    assert profile_of(None).name == "plain"


def test_a_foreign_template_is_refused() -> None:
    with pytest.raises(UsageError, match=r"llm\.profile"):
        profile_of("{% for m in messages %}<turn>{{ m.content }}</turn>{% endfor %}")


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="'llama-3'"):
        profile("lama-3")


@settings(deadline=None, max_examples=50)
@given(conversation=conversations())
def test_content_and_markup_are_told_apart(conversation: list[Message]) -> None:
    for candidate in (profile("chatml"), profile("krutrim-instruct")):
        held = [message.content for message in conversation if message.content]
        segments = render(conversation, candidate, BOS, EOS)
        assert [segment.text for segment in segments if not segment.is_control] == held


@settings(deadline=None, max_examples=50)
@given(text=st.text(alphabet="[]/INST<>SY ", max_size=60))
def test_broken_markers_are_gone(text: str) -> None:
    markers = profile("llama-2").markers
    broken = break_markers(text, markers)
    assert not any(marker in broken for marker in markers)
    assert broken.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("conversation", "message"),
    [([], "empty"), ([Message("tool", "x")], "unknown role"), ([Message("system", "x")], "no user turn")],  # type: ignore[arg-type]
)
def test_a_conversation_that_cannot_be_rendered_is_refused(conversation: list[Message], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        render(conversation, profile("llama-2"))
