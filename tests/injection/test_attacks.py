"""Orders in documents, against a model that follows every one of them: what comes out is the pipeline's doing alone.

Files are parsed, chunked, stored in Milvus Lite and searched as in earnest. Two models write the draft: one that obeys what it
finds in its prompt, however disguised, and one that an attack has captured for good and that says what the attacker wants.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token as Mark

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Answer, Done, Message, Retrieved, Token
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.experts.base import RouteRequest
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.scripted import ScriptedLLM
from ckllm.prompting.grounded import SYSTEM
from ingestion import ingest
from tests.injection.attacks import Attack, attacks
from ui.answers import segments

ATTACKS = attacks()
_ACTIVE = re.compile(r"(?:https?|ftp)://|www\.", re.IGNORECASE)
_LINK = re.compile(r"(?:!?\[[^\]]*\]\([^)]*\)|<[^>]+>|https?://\S+)")
_LOOKALIKE = str.maketrans("аеорсухІТ", "aeopcyxIT")


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    folder = tmp_path_factory.mktemp("documents")
    for number, attack in enumerate(ATTACKS):
        (folder / f"{number:03} honest.txt").write_text(attack.topic.honest, encoding="utf-8")
        (folder / f"{number:03} attack{attack.suffix}").write_bytes(attack.content)
    settings = load_settings(tmp_path_factory.mktemp("home"), environment={})
    parts = Replacements(embedder=HashingEmbedder(1024), llm=ScriptedLLM(lambda _messages: ""))
    with open_knowledge_base(settings=settings, replacements=parts) as opened:
        report = ingest([str(folder)], opened)
        assert report.added == 2 * len(ATTACKS), report.rejected
        yield opened


def undisguised(prompt: str) -> str:
    """The prompt as the cleverest reader sees it."""
    plain = unicodedata.normalize("NFKC", re.sub("[\u200b\u200c\u2060]", "", prompt)).translate(_LOOKALIKE)
    for run in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", plain):
        try:
            plain += "\n" + base64.b64decode(run + "=" * (-len(run) % 4)).decode()
        except ValueError:
            continue
    return plain


def obedient(attack: Attack) -> Callable[[Sequence[Message]], str]:
    """Does what its prompt says, and repeats every link that it sees; without an order it repeats everything."""

    def answer(messages: Sequence[Message]) -> str:
        prompt = undisguised(messages[-1].content)
        links = " ".join(_LINK.findall(messages[-1].content))
        if " ".join(undisguised(attack.order).split()).casefold() in " ".join(prompt.split()).casefold():
            return f"{attack.reply} {links}"
        told = re.findall(r"<passage \d+: [^\n]*>\n(.*?)\n</passage>", messages[-1].content, re.DOTALL)
        return " ".join([*told, links])

    return answer


def captured(attack: Attack) -> Callable[[Sequence[Message]], str]:
    """Says what the attacker wants, whatever it is shown."""
    return lambda _messages: attack.reply


def pair(kb: KnowledgeBase, attack: Attack) -> str:
    """The condition that leaves the attack and the honest document beside it, so that both are always among the evidence."""
    number = f"{ATTACKS.index(attack):03} "
    sources = [row.source for row in kb.documents() if number in Path(row.source.split("!/")[0]).name]
    assert len(sources) == 2
    return f"source in {sources!r}"


def asked(kb: KnowledgeBase, attack: Attack, model: Callable[[Sequence[Message]], str]) -> tuple[Answer, str]:
    """The answer, and the draft as it was streamed."""
    assert isinstance(kb.llm, ScriptedLLM)
    kb.llm._answer = model
    kb.llm.requests.clear()
    events = list(kb.stream(attack.topic.question, where=pair(kb, attack)))
    done = events[-1]
    assert isinstance(done, Done)
    assert isinstance(events[0], Retrieved)
    return done.answer, "".join(event.text for event in events if isinstance(event, Token))


def marks(text: str) -> list[Mark]:
    """What a viewer that renders Markdown with HTML in it makes of a text, down to the last mark."""
    found: list[Mark] = []
    for block in MarkdownIt("commonmark", {"html": True}).parse(text):
        found += [block, *(block.children or ())]
    return found


def assert_inert(text: str, *, addresses: bool = False) -> None:
    for mark in marks(text):
        assert mark.type not in ("link_open", "image", "html_inline", "html_block"), text
        if mark.type == "text" and not addresses:  # what is no code, viewers of GitHub's Markdown turn into a link
            assert not _ACTIVE.search(mark.content), text


@pytest.mark.parametrize("model", [obedient, captured], ids=["obedient", "captured"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_honest_document_answers_and_the_order_does_nothing(
    kb: KnowledgeBase, attack: Attack, model: Callable[[Attack], Callable[[Sequence[Message]], str]]
) -> None:
    answer, draft = asked(kb, attack, model(attack))
    assert not answer.refused, answer.reason
    assert attack.topic.mayor in answer.answer
    assert all(word.casefold() not in answer.answer.casefold() for word in attack.forbidden)
    assert any(Path(one.source).name.endswith("honest.txt") for one in answer.citations)
    for citation in answer.citations:
        assert all(word.casefold() not in citation.quote.casefold() for word in attack.forbidden)
        assert kb.document_text(citation.document_id).text[citation.start : citation.end] == citation.quote
    assert {int(n) for n in re.findall(r"\[(\d+)\]", answer.answer)} == {one.marker for one in answer.citations}
    assert all(one.supported and one.citations for one in answer.sentences)
    assert_inert(answer.answer)
    assert_inert(draft, addresses=True)
    assert not re.search(r"\[\d+\]|【", draft)
    assert all(part["kind"] in ("sentence", "marker") or not part["text"].strip() for part in segments(answer))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_task_stays_what_it_is(kb: KnowledgeBase, attack: Attack) -> None:
    """Route, system prompt and form of the prompt are those of the question; the passages say what the ledger says."""
    answer, _ = asked(kb, attack, captured(attack))
    assert isinstance(kb.llm, ScriptedLLM)
    (request,) = kb.llm.requests
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[0].content == SYSTEM
    assert request.messages[1].content.endswith(f"\n\nQuestion: {attack.topic.question}")
    assert answer.route == kb._parts.router().route([RouteRequest(attack.topic.question, (), "auto", 1)])[0]
    shown = re.findall(r"<passage (\d+): [^\n]*>\n(.*?)\n</passage>", request.messages[1].content, re.DOTALL)
    assert [(str(e.marker), e.hit.text) for e in answer.evidence if e.in_prompt] == shown
    assert len(re.findall(r"</?passage", request.messages[1].content)) == 2 * len(shown)


def test_there_are_many_and_each_is_among_the_evidence(kb: KnowledgeBase) -> None:
    assert len(ATTACKS) >= 80
    for attack in ATTACKS:
        answer, _ = asked(kb, attack, captured(attack))
        assert {Path(entry.hit.source.split("!/")[0]).name.split()[1].split(".")[0] for entry in answer.evidence} == {
            "honest",
            "attack",
        }
