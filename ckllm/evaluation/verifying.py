"""Does the verifier tell what the evidence supports from what it does not? Asked of statements made from a set's own evidence.

The evidence of a question gives the supported ones (its sentence, that sentence without an aside, the question with its answer
as a statement) and, with one thing changed in each, those that are not supported; sentences of other questions' evidence join
them. Each is aligned with a span of the passage as a sentence of an answer is, so what is judged is what users get.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.sentences import split_sentences
from ckllm.citations.terms import content_keys
from ckllm.citations.verification import Verifier
from ckllm.contracts import Evidence, Hit
from ckllm.evaluation.corpus import EvidenceMap, Item
from ckllm.evaluation.dataset import EvalQuestion
from ckllm.evaluation.statements import changes, same_words, stated, without_aside

LEAST_WORDS = 4
"""Content words of a sentence that says something."""
STRANGERS = 2
"""Sentences of other evidence that are laid before each passage."""
WIDEST = 1500
"""Characters of a document around the evidence, each side, where no empty line comes earlier."""
SUPPORTED, UNSUPPORTED = "supported: ", "unsupported: "
"""Beginnings of the names of kinds."""


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    supported: bool
    kind: str


Counts = dict[str, tuple[int, int]]
"""Kind → (statements that were accepted, statements)."""


class StatementJudge:
    """Makes the statements of each question of a set, the same in every run, and lays them before a verifier."""

    def __init__(self, evidence: EvidenceMap, questions: Sequence[EvalQuestion]) -> None:
        self._evidence = evidence
        self._pool: dict[str, list[str]] = defaultdict(list)
        """Sentences of all evidence, by language."""
        for question in questions:
            self._pool[question.lang] += [
                span.text
                for gold in question.evidence
                for span in split_sentences(gold.text, question.lang)
                if len(content_keys(span.text)) >= LEAST_WORDS
            ]

    def counts(self, question: EvalQuestion, items: Sequence[Item], verifier: Verifier) -> Counts:
        """What `verifier` says to the statements on the first evidence of `question`; {} where it has no span."""
        spans = [item for item in items if item.is_span]
        if question.answerable is False or not spans:
            return {}
        text, start, end = _passage(self._evidence.text(spans[0].document_id), spans[0])
        index = EvidenceIndex([_evidence(text, question.lang)])
        made = list(dict.fromkeys(self._statements(question, text, index, start, end)))
        quotes = [index.attribute(one.text).quotes for one in made]
        verdicts = verifier.verify([one.text for one in made], quotes)
        found: Counts = {}
        for one, verdict in zip(made, verdicts, strict=True):
            name = (SUPPORTED if one.supported else UNSUPPORTED) + one.kind
            accepted, total = found.get(name, (0, 0))
            found[name] = accepted + verdict.supported, total + 1
        return found

    def _statements(self, question: EvalQuestion, text: str, index: EvidenceIndex, start: int, end: int) -> Iterator[Statement]:
        rng = random.Random(question.id)  # noqa: S311 - a sample, not a secret
        gold = [
            one.quote.text
            for one in index.sentences
            if one.quote.start < end and start < one.quote.end and len(one.keys) >= LEAST_WORDS
        ]
        true = [Statement(sentence, True, "quoted") for sentence in gold]
        true += [Statement(short, True, "shortened") for sentence in gold if (short := without_aside(sentence, question.lang))]
        if question.lang in ("", "en"):
            said = stated(question.question, question.answers[0]) if question.answers else ""
            if said and any(quote.text in gold for quote in index.attribute(said).quotes):
                true.append(Statement(said, True, "statement"))
        for one in true:
            yield one
            for kind, changed in changes(one.text, text, question.lang or "en", rng):
                if not same_words(changed, one.text):
                    yield Statement(changed, False, kind)
        others = [sentence for sentence in self._pool[question.lang] if sentence not in text]
        for sentence in rng.sample(others, min(STRANGERS, len(others))) if gold else ():
            yield Statement(sentence, False, "other passage")


def rates(counts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Recall: the supported statements that were accepted. Precision: the accepted ones that are supported; none without any."""
    true = [value for name, value in counts.items() if name.startswith(SUPPORTED)]
    accepted, total = sum(value[0] for value in true), sum(value[1] for value in true)
    every = sum(value[0] for value in counts.values())
    found = {"verification_precision": accepted / every} if every else {}
    return found | ({"verification_recall": accepted / total} if total else {})


def summed(found: Sequence[Mapping[str, Sequence[int]]]) -> Counts:
    """Of several questions together, supported kinds first."""
    total: Counts = {}
    for counts in found:
        for name, (accepted, statements) in counts.items():
            before = total.get(name, (0, 0))
            total[name] = before[0] + accepted, before[1] + statements
    return dict(sorted(total.items()))


def _passage(text: str, item: Item) -> tuple[str, int, int]:
    """The paragraph around the evidence, and the evidence's span in it."""
    least, most = max(0, item.start - WIDEST), min(len(text), item.end + WIDEST)
    begin = text.rfind("\n\n", least, item.start)
    begin = least if begin < 0 else begin + 2
    end = text.find("\n\n", item.end, most)
    return text[begin : most if end < 0 else end], item.start - begin, item.end - begin


def _evidence(text: str, lang: str) -> Evidence:
    return Evidence(1, Hit(1, 1.0, text, "", "", None, "", 0, len(text), "", "", ("dense",), lang), True)
