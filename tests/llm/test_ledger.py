"""The evidence ledger of an answer is what the model was given, whichever engine runs it: token ids, or a request's body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckllm.experts.base import BASE
from ckllm.experts.registry import SHIPPED
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.base import BaseLLM, GenerationRequest
from ckllm.llm.local import LocalLLM
from ckllm.llm.openai_compatible import OpenAiCompatibleLLM
from ckllm.llm.openvino import OpenVinoLLM
from ckllm.llm.scripted import ScriptedLLM
from tests.experts.models import random_adapter
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


ADAPTER = "sailing-adapter"
"""The fake server offers one of this name."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine of its own, an adapter that fits its model, and what the model was last given."""

    llm: BaseLLM
    last: Callable[[], tuple[str, str]]
    """The prompt, and the adapter that it was run with: its folder, or its name at a server; "" for the model as it is."""
    adapter: Path = SHIPPED / "qa"
    base_url: str = ""


def _local(llm: LocalLLM, monkeypatch: pytest.MonkeyPatch, adapter: Path = SHIPPED / "qa") -> Engine:
    """What is recorded: the ids that the model is run on, as text with its control tokens."""
    given: list[tuple[list[int], str]] = []
    run = llm._tokens

    def tokens(ids: list[int], request: GenerationRequest, *rest: object) -> Iterator[int]:
        given.append((list(ids), "".join(request.adapters)))
        return run(ids, request, *rest)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(llm, "_tokens", tokens)
    return Engine(llm, lambda: (llm.model.tokenizer.decode(given[-1][0], skip_control=False), given[-1][1]), adapter)


def _scripted() -> Engine:
    llm = ScriptedLLM(["The Kestrel bridge was opened by Ada Brandt."])

    def last() -> tuple[str, str]:
        return "\n".join(message.content for message in llm.requests[-1].messages), "".join(llm.requests[-1].adapters)

    return Engine(llm, last)


@pytest.fixture(params=["scripted", "openai", "openvino", "transformers"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    match request.param:
        case "scripted":
            yield _scripted()
        case "openai":
            server: FakeServer = request.getfixturevalue("server")

            def last() -> tuple[str, str]:
                body = server.bodies[-1]
                return "\n".join(one["content"] for one in body["messages"]), body["model"].removeprefix("small")

            with OpenAiCompatibleLLM(server.url, "small", timeout_s=5) as llm:
                yield Engine(llm, last, base_url=server.url)
        case "openvino":
            with OpenVinoLLM(request.getfixturevalue("smollm2_folder"), model_id="smollm2-135m-instruct") as local:
                yield _local(local, monkeypatch)
        case _:
            from ckllm.llm.transformers import TransformersLLM

            model = request.getfixturevalue("tiny_folder")
            with TransformersLLM(str(model), device="cpu") as local:
                yield _local(local, monkeypatch, random_adapter(model, tmp_path / "adapter", 1))


@pytest.fixture
def opened(tmp_path: Path, engine: Engine) -> Iterator[KnowledgeBase]:
    settings = {"retrieval__evidence_tokens": 200, "answer__max_tokens": 4, "llm__base_url": engine.base_url}
    experts = [{"name": ADAPTER, "adapter": str(engine.adapter)}]
    with knowledge_base(tmp_path / "home", llm=engine.llm, experts=experts, **settings) as kb:
        for name, text in TEXTS.items():
            add(kb, name, text)
        yield kb


@pytest.mark.parametrize("expert", [BASE, ADAPTER])
def test_the_ledger_equals_what_the_engine_was_given(opened: KnowledgeBase, engine: Engine, expert: str) -> None:
    answer = opened.ask(QUESTION, k=12, expert=expert)
    given, adapter = engine.last()
    assert adapter == ("" if expert == BASE else ADAPTER if engine.base_url else str(engine.adapter))
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
