"""Statements made from a set's evidence, and what a verifier says to them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ckllm.citations.verification import TrainedVerifier, Verdict
from ckllm.contracts import Quote
from ckllm.evaluation.corpus import EvidenceMap
from ckllm.evaluation.dataset import EvalQuestion, Gold
from ckllm.evaluation.statements import changes, stated, without_aside
from ckllm.evaluation.verifying import Counts, StatementJudge, rates, summed
from ckllm.knowledge_base import KnowledgeBase
from tests.knowledge import add, knowledge_base

BRIDGE = (
    "The Kestrel bridge (a toll bridge) was opened by Ada Brandt in 1931. It was never painted by the workers of Wend.\n\n"
    "Its toll was two marks until 1950."
)
FERRY = "The ferry Otter crosses the strait every twenty minutes and takes eleven cars."


class Trusting:
    """Accepts everything."""

    def verify(self, sentences: Sequence[str], quotes: Sequence[Sequence[Quote]]) -> list[Verdict]:
        return [Verdict(True, 1.0) for _ in zip(sentences, quotes, strict=True)]


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with knowledge_base(tmp_path) as opened:
        add(opened, "bridge.txt", BRIDGE)
        add(opened, "ferry.txt", FERRY)
        yield opened


def question(number: int, doc: str, text: str, part: str, **more: object) -> EvalQuestion:
    start = text.index(part)
    gold = Gold(doc, start, start + len(part), part)
    return EvalQuestion(f"q{number}", f"question {number}", "en", (part,), True, "any", (gold,), **more)  # type: ignore[arg-type]


def asked() -> list[EvalQuestion]:
    first = EvalQuestion(
        "q0", "When was the Kestrel bridge opened?", "en", ("1931",), True, "any",
        (Gold("bridge.txt", BRIDGE.index("1931"), BRIDGE.index("1931") + 4, "1931"),),
    )  # fmt: skip
    return [first, question(1, "ferry.txt", FERRY, FERRY)]


def counted(kb: KnowledgeBase, questions: Sequence[EvalQuestion], verifier: object) -> list[Counts]:
    evidence = EvidenceMap(kb)
    judge = StatementJudge(evidence, questions)
    return [judge.counts(one, evidence.items(one)[0], verifier) for one in questions]  # type: ignore[arg-type]


def test_every_kind_is_made_from_the_evidence(kb: KnowledgeBase) -> None:
    found = summed(counted(kb, asked(), Trusting()))
    assert {"supported: quoted", "supported: shortened", "supported: statement"} <= set(found)
    assert {"unsupported: number", "unsupported: name", "unsupported: negation", "unsupported: other passage"} <= set(found)
    assert found["supported: quoted"] == (2, 2)
    assert all(accepted == total for accepted, total in found.values())


def test_one_who_accepts_everything_has_full_recall_and_little_precision(kb: KnowledgeBase) -> None:
    found = rates(summed(counted(kb, asked(), Trusting())))
    assert found["verification_recall"] == 1.0
    assert found["verification_precision"] < 0.5


def test_the_shipped_verifier_tells_them_apart(kb: KnowledgeBase) -> None:
    found = summed(counted(kb, asked(), TrainedVerifier()))
    assert found["supported: quoted"] == (2, 2)
    assert rates(found)["verification_precision"] >= 0.75


def test_a_run_makes_the_same_statements_as_the_one_before(kb: KnowledgeBase) -> None:
    assert counted(kb, asked(), TrainedVerifier()) == counted(kb, asked(), TrainedVerifier())


def test_a_question_without_a_span_says_nothing(kb: KnowledgeBase) -> None:
    whole = EvalQuestion("w", "Which?", "en", (), True, "graded", (Gold("ferry.txt"),))
    refused = EvalQuestion("u", "Who?", "en", (), False, "none")
    assert counted(kb, [whole, refused], Trusting()) == [{}, {}]
    assert rates({}) == {}


def test_rates() -> None:
    counts = {"supported: quoted": (3, 4), "unsupported: name": (1, 9)}
    assert rates(counts) == {"verification_precision": 0.75, "verification_recall": 0.75}
    assert rates({"supported: quoted": (0, 2)}) == {"verification_recall": 0.0}


def test_changes_change_one_thing() -> None:
    text = "In 1931 Ada Brandt was the first mayor of Wend for 12 years."
    passage = text + " In 1950 she left for Marrow, where another mayor governed."
    found = dict(changes(text, passage, "en", random.Random(0)))
    assert set(found) == {"number", "numbers swapped", "name", "names swapped", "negation", "quantifier", "unit", "word"}
    assert found["negation"] == text.replace("was", "was not")
    assert found["quantifier"] == text.replace("first", "last")
    assert found["unit"] == text.replace("years", "days")
    assert all(changed != text for changed in found.values())


def test_statements() -> None:
    assert stated("When was the bridge opened?", "1931") == "The bridge was opened in 1931."
    assert stated("Why?", "because") == ""
    assert without_aside("The bridge (a toll bridge) was opened by Ada Brandt in 1931.", "en") == (
        "The bridge was opened by Ada Brandt in 1931."
    )
