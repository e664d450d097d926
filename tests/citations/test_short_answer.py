"""A short draft is found in the evidence word by word, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.citations.checking import quoted
from ckllm.citations.composition import compose
from ckllm.citations.short_answer import locate, short_answer
from ckllm.contracts import Evidence, Hit, Quote

TEXT = (
    "The lighthouse at Skerry was lit in March 1844 by Ann Doyle and her sister. "
    "Its lamp [now electric] burns 3.5 litres of oil a day, 40 % less than before. "
    "Doyle kept it until 1871."
)
QUESTION = "Who lit the lighthouse, and when?"


def quotes() -> list[Quote]:
    found, start = [], 0
    for text in TEXT.split(". "):
        text = text if text.endswith(".") else text + "."
        found.append(Quote(1, start, start + len(text), text))
        start += len(text) + 1
    return found


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("Ann Doyle", "Ann Doyle"),
        ("ann doyle.", "Ann Doyle"),
        ("the Ann Doyle", "Ann Doyle"),
        ("March 1844 [1]", "March 1844"),
        ("3.5 litres", "3.5 litres"),
        ("40 %", "40 %"),
        ("40", "40 %"),
        ("1871", "1871"),
        ("Doyle and sister", "Doyle and her sister"),
        ("March of 1844", "March 1844"),
    ],
)
def test_what_stands_in_the_evidence_is_found(draft: str, expected: str) -> None:
    found = locate(draft, QUESTION, quotes())
    assert found is not None
    assert found.text == expected


@pytest.mark.parametrize(
    "draft",
    [
        "", "…", "Not stated.", "Ann Boyle", "1845", "35 litres", "sister Ann March",
        "the lighthouse",  # says no more than the question
        "Doyle kept it until 1871.",  # a sentence, which is checked as one
        "It was lit by Ann Doyle, who came from the mainland with her sister in the spring of that year.",
    ],
)  # fmt: skip
def test_what_does_not_is_not(draft: str) -> None:
    assert locate(draft, QUESTION, quotes()) is None


def test_the_better_quote_wins() -> None:
    first, _, last = quotes()
    found = locate("Doyle", QUESTION, [last, first])
    assert found is not None
    assert found.quote == last


def test_the_short_answer_is_a_run_of_the_answer() -> None:
    hit = Hit(
        rank=1, score=1.0, text=TEXT, source="/a", title="a", page=None, section="", start=0, end=len(TEXT),
        document_id="d", chunk_id="c", found_by=(),
    )  # fmt: skip
    located = locate("lamp now electric", QUESTION, quotes())
    assert located is not None
    assert located.text == "lamp [now electric"
    composition = compose(quoted([located.quote]), [Evidence(1, hit, in_prompt=True)], lambda *_: ())
    short = short_answer(composition, located)
    assert short is None or short in composition.answer
    assert short_answer(composition, None) is None


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_draft_over_any_text(draft: str, text: str) -> None:
    found = locate(draft, QUESTION, [Quote(1, 0, len(text), text)])
    assert found is None or (0 <= found.start < found.end <= len(text))
