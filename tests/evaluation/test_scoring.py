"""Figures of single questions, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckllm.contracts import Answer, Citation, Hit, Route, Sentence, Timings, Usage
from ckllm.evaluation import scoring
from ckllm.evaluation.compare import bars, changes
from ckllm.evaluation.corpus import Item
from ckllm.evaluation.dataset import EvalQuestion, Gold
from ckllm.evaluation.metrics import Mode
from ckllm.evaluation.run import Report, Row, summarise

ROUTE = Route("base", 1.0, {}, {"base": 1.0}, "base-only", "")


def hit(document: str, start: int, end: int, rank: int = 1) -> Hit:
    return Hit(rank, 1.0, "", "", "", None, "", start, end, document, f"{document}{start}", ())


def item(document: str, start: int, end: int, grade: float = 1.0, span: bool = True, annotations: tuple[int, ...] = ()) -> Item:
    return Item(document, start, end, grade, span, annotations)


def asked(mode: Mode = "any", answerable: bool | None = True, answers: tuple[str, ...] = ("1931",)) -> EvalQuestion:
    return EvalQuestion("q", "When?", "en", answers, answerable, mode, (Gold("d", 0, 1),))


def answer(text: str, quote: str, *, start: int = 0, supported: bool = True, short: str | None = None) -> Answer:
    citation = Citation(1, "", "", None, "", start, start + len(quote), quote, "d", "c")
    sentence = Sentence(text, 0, len(text), supported, 0.8, (1,))
    return Answer("When?", f"{text} [1]", short, False, (sentence,), (citation,), ROUTE, (), Usage(), Timings())


REFUSED = Answer("When?", "I cannot answer.", None, True, (), (), ROUTE, (), Usage(), Timings(), reason="none")


def test_retrieval_of_spans() -> None:
    items = [item("d", 10, 20), item("e", 0, 5)]
    hits = [hit("d", 20, 40), hit("d", 0, 15), hit("e", 2, 3)]
    any_of = scoring.retrieval_scores(asked(), items, hits)
    assert (any_of["recall@1"], any_of["recall@5"], any_of["mrr"]) == (0, 1, 0.5)
    both = scoring.retrieval_scores(asked("all"), items, hits[:2])
    assert both["recall@5"] == 0.5
    assert scoring.retrieval_scores(asked("all"), items, hits, unplaced=2)["recall@10"] == 0.5
    assert scoring.retrieval_scores(asked(), [], hits, unplaced=1)["recall@10"] == 0
    assert scoring.retrieval_scores(asked("none"), items, hits) == {}


def test_whole_documents_are_ranked_as_documents() -> None:
    """The second passage of a document takes no rank: the relevant one stands at rank 2, not 3."""
    items = [item("d", 0, 100, 3.0, False)]
    hits = [hit("e", 0, 10), hit("e", 10, 20), hit("d", 50, 60)]
    assert scoring.retrieval_scores(asked("graded"), items, hits)["mrr"] == 0.5


def test_citations_by_span_and_by_character() -> None:
    """Ten cited characters, of which four are evidence; eight characters of evidence, of which four are cited."""
    found = scoring.answer_scores(asked(), [item("d", 6, 14)], answer("Opened 1931", "x" * 10))
    assert (found["citation_precision"], found["citation_recall"]) == (1.0, 1.0)
    assert (found["citation_char_precision"], found["citation_char_recall"]) == pytest.approx((0.4, 0.5))
    refused = scoring.answer_scores(asked(), [item("d", 6, 14)], REFUSED)
    assert refused["citation_recall"] == refused["f1"] == refused["answered"] == 0
    assert "citation_precision" not in refused


def test_citations_count_with_the_best_annotation() -> None:
    items = [item("d", 0, 10, annotations=(0,)), item("d", 20, 30, annotations=(1,)), item("d", 40, 50, annotations=(1,))]
    assert scoring.answer_scores(asked(), items, answer("a", "x" * 10))["citation_recall"] == 1.0
    assert scoring.answer_scores(asked(), items, answer("a", "x" * 10, start=20))["citation_recall"] == 0.5


def test_short_answers_are_what_is_scored() -> None:
    long = answer("It was opened in 1931 by the council", "opened in 1931")
    assert scoring.answer_scores(asked(), [], long)["f1"] == 2 / 8  # seven words without the article, one of them right
    short = replace(long, short_answer="1931")
    assert scoring.answer_scores(asked(), [], short)["exact"] == 1.0
    assert scoring.said_by(long) == "It was opened in 1931 by the council"


def test_refusals() -> None:
    assert scoring.answer_scores(asked(answerable=False), [], REFUSED)["refused_unanswerable"] == 1
    assert scoring.answer_scores(asked(answerable=False), [], answer("a", "a"))["decision"] == 0
    assert "decision" not in scoring.answer_scores(asked(answerable=None, answers=()), [], REFUSED)
    assert scoring.risk(asked(answerable=False), {}) == 1.0
    assert scoring.risk(asked(), {"f1": 0.4}) == 1.0
    assert scoring.risk(asked(answers=()), {}) is None
    assert scoring.failed_scores(asked()) == {"decision": 0, "answered": 0, "exact": 0, "f1": 0}


@pytest.mark.parametrize(
    ("text", "quote", "numbers", "names"),
    [
        ("It cost 1,200 pounds", "a price of 1200 pounds", [], []),
        ("It cost 1,300 pounds", "a price of 1200 pounds", ["1,300"], []),
        ("The bridge by Anna Keller", "built by anna keller", [], []),
        ("The bridge by Anna Kellar", "built by Anna Keller", [], ["Kellar"]),
        ("Bridges cost 3.5 million", "cost 3.5 million", [], []),
        ("He met McDonald", "McDonald met him", [], []),
    ],
)
def test_what_a_quote_does_not_hold(text: str, quote: str, numbers: list[str], names: list[str]) -> None:
    given = answer(text, quote)
    assert scoring.missing(given.sentences[0], given) == (numbers, names)
    found = scoring.answer_scores(asked(), [], given)
    assert (found["numbers_kept"], found["names_kept"]) == (float(not numbers), float(not names))


def test_only_supported_sentences_have_to_keep_their_facts() -> None:
    found = scoring.answer_scores(asked(), [], answer("In 1999", "in 1931", supported=False))
    assert found["supported"] == 0
    assert "numbers_kept" not in found


def row(name: str, f1: float, **more: object) -> Row:
    return Row(name, f"question {name}", "en", True, scores={"f1": f1}, **more)  # type: ignore[arg-type]  # fields of Row


def test_means_and_languages() -> None:
    rows = [row("a", 1.0, refused=False, risk=0.0, confidence=0.9), row("b", 0.0, refused=False, risk=1.0, confidence=0.2),
            replace(row("c", 0.5), lang="hi", timings={"total_s": 2.0})]  # fmt: skip
    report = summarise(rows, {})
    assert (report.metrics["f1"], report.counts["f1"]) == (0.5, 3)
    assert report.by_language["hi"]["f1"] == 0.5
    assert report.metrics["latency_total_p95_s"] == 2.0
    assert report.curve == [(pytest.approx(1 / 3, abs=1e-3), 0.0), (pytest.approx(2 / 3, abs=1e-3), 0.5)]
    assert report.metrics["risk_coverage_area"] == 0.25


def test_statements_are_counted_in_all_and_by_language() -> None:
    rows = [row("a", 1.0, statements={"supported: quoted": (1, 1), "unsupported: name": (0, 2)}),
            replace(row("b", 1.0, statements={"supported: quoted": (0, 1)}), lang="hi"), row("c", 1.0)]  # fmt: skip
    report = summarise(rows, {})
    assert report.statements[""] == {"supported: quoted": (1, 2), "unsupported: name": (0, 2)}
    assert report.statements["hi"] == {"supported: quoted": (0, 1)}
    assert report.as_json(rows=False)["statements"]["en"] == {"supported: quoted": [1, 1], "unsupported: name": [0, 2]}


def run_of(values: list[float]) -> Report:
    return summarise([row(str(n), value) for n, value in enumerate(values)], {})


def test_changes_are_told_from_chance() -> None:
    (worse,) = changes(run_of([1.0] * 40), run_of([0.0] * 20 + [1.0] * 20))
    assert (worse.verdict, worse.difference) == ("worse", -0.5)
    (same,) = changes(run_of([1.0] * 40), run_of([0.0] + [1.0] * 39))
    assert same.verdict == "same"
    assert changes(run_of([1.0] * 3), run_of([0.0] * 3)) == []
    assert bars(["f1=0.5", "recall@5 = 0.9"]) == {"f1": 0.5, "recall@5": 0.9}
