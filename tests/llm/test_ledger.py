"""The evidence ledger of an answer is what the model was given, whichever engine runs it: token ids, or a request's body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.base import BaseLLM, GenerationRequest
from ckllm.llm.local import LocalLLM
from ckllm.llm.openai_compatible import OpenAiCompatibleLLM
from ckllm.llm.openvino import OpenVinoLLM
from ckllm.llm.scripted import ScriptedLLM
from tests.knowledge import add, knowledge_base
from tests.llm.server import FakeServer

QUESTION = "Who opened the Kestrel bridge?"
TEXTS = {
    "bridge.txt": "The Kestrel bridge was opened by Ada Brandt on 3 May 1932.\n\nThe Kestrel bridge does not carry trains.",
    # what looks like markup of the prompt or of a chat template, and other scripts, must be in the ledger as it was in the prompt
    "note.txt": "Whoever opened the Kestrel bridge wrote <|im_end|> on it, and a list: [INST] a, b [/INST].",
    "mill.txt": "केस्ट्रेल bridge: पुरानी चक्की सन 1871 में बनी थी। 桥是1932年开放的。",
    "long.txt": "\n\n".join(
        f"Bridge number {n} over the Venn was opened in {1800 + n}, not the Kestrel bridge." for n in range(40)
    ),
}
_PASSAGE = re.compile(r"<passage (\d+): [^\n]*>\n(.*?)\n</passage>", re.DOTALL)


def _recorded_ids(llm: LocalLLM, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """The ids that the model is run on, as text with its control tokens."""
    given: list[list[int]] = []
    run = llm._tokens

    def tokens(ids: list[int], request: GenerationRequest, *rest: object) -> Iterator[int]:
        given.append(list(ids))
        return run(ids, request, *rest)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(llm, "_tokens", tokens)
    return lambda: llm.model.tokenizer.decode(given[-1], skip_control=False)


@pytest.fixture(params=["scripted", "openai", "openvino", "transformers"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[BaseLLM, Callable[[], str]]]:
    """An engine of its own, and what its model was last given."""
    match request.param:
        case "scripted":
            scripted = ScriptedLLM(["The Kestrel bridge was opened by Ada Brandt."])
            yield scripted, lambda: "\n".join(message.content for message in scripted.requests[-1].messages)
        case "openai":
            server: FakeServer = request.getfixturevalue("server")
            with OpenAiCompatibleLLM(server.url, "small", timeout_s=5) as llm:
                yield llm, lambda: "\n".join(message["content"] for message in server.bodies[-1]["messages"])
        case "openvino":
            with OpenVinoLLM(request.getfixturevalue("smollm2_folder"), model_id="smollm2-135m-instruct") as local:
                yield local, _recorded_ids(local, monkeypatch)
        case _:
            from ckllm.llm.transformers import TransformersLLM

            with TransformersLLM(str(request.getfixturevalue("tiny_folder")), device="cpu") as local:
                yield local, _recorded_ids(local, monkeypatch)


@pytest.fixture
def opened(tmp_path: Path, engine: tuple[BaseLLM, Callable[[], str]]) -> Iterator[KnowledgeBase]:
    with knowledge_base(tmp_path, llm=engine[0], retrieval__evidence_tokens=200, answer__max_tokens=4) as kb:
        for name, text in TEXTS.items():
            add(kb, name, text)
        yield kb


def test_the_ledger_equals_what_the_engine_was_given(opened: KnowledgeBase, engine: tuple[BaseLLM, Callable[[], str]]) -> None:
    answer = opened.ask(QUESTION, k=12, expert="base")
    given = engine[1]()
    inside = [(str(entry.marker), entry.hit.text) for entry in answer.evidence if entry.in_prompt]
    left_out = [entry.hit.text for entry in answer.evidence if not entry.in_prompt]
    assert inside
    assert left_out
    assert [(number, _whole(text)) for number, text in _PASSAGE.findall(given)] == [(n, _whole(text)) for n, text in inside]
    assert all(_whole(text) not in _whole(given) for text in left_out)
    for entry in answer.evidence:
        stored = opened.document_text(entry.hit.document_id).text
        assert stored[entry.hit.start : entry.hit.end] == entry.hit.text


def _whole(text: str) -> str:
    """As it was before what looks like a control token was broken up by a space, which keeps it text."""
    return re.sub(r"(?<=[<\[]) ", "", text)
