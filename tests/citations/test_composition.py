from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.checking import check, quoted
from ckllm.citations.composition import Claim, compose
from ckllm.citations.short_answer import Located, short_answer
from ckllm.citations.verification import RuleVerifier
from ckllm.contracts import Box, Evidence, Hit, Quote

DOCUMENT = (
    "Zero. The pump runs at 40 Hz. The filter is washed weekly [12]. Do not open the hatch.\nThe lamp is green. आख़िरी वाक्य।"
)
START = 6


def passage(start: int, end: int, marker: int = 1) -> Evidence:
    hit = Hit(
        1, 1.0, DOCUMENT[start:end], "/a.txt", "A", None, "", start, end, "doc", f"chunk{marker}", ("dense",), "en", "version"
    )
    return Evidence(marker, hit, True)


def no_boxes(_version: str, _start: int, _end: int) -> tuple[Box, ...]:
    return ()


EVIDENCE = (passage(START, 86), passage(87, len(DOCUMENT), 2))


def test_a_supported_draft_becomes_cited_sentences() -> None:
    claims = check("The pump runs at 40 Hz [7]. The moon is made of cheese (2).", EvidenceIndex(EVIDENCE), RuleVerifier(0.7))
    assert [claim.supported for claim in claims] == [True, False]
    made = compose([claim for claim in claims if claim.supported], EVIDENCE, no_boxes)
    assert made.answer == "The pump runs at 40 Hz. [1]"
    assert made.citations[0].quote == "The pump runs at 40 Hz."
    assert [entry.cited for entry in made.evidence] == [True, False]


def test_equal_spans_share_a_marker_and_markers_count_by_first_use() -> None:
    index = EvidenceIndex(EVIDENCE)
    by_text = {entry.quote.text: entry.quote for entry in index.sentences}
    lamp, pump = by_text["The lamp is green."], by_text["The pump runs at 40 Hz."]
    made = compose([Claim("Green.", (lamp,), True, 0.9), Claim("Pump.", (pump, lamp), True, 0.8)], EVIDENCE, no_boxes)
    assert made.answer == "Green. [1] Pump. [2] [1]"
    assert [sentence.citations for sentence in made.sentences] == [(1,), (2, 1)]


def test_a_marker_in_the_document_is_not_shown_as_ours() -> None:
    quote = next(entry.quote for entry in EvidenceIndex(EVIDENCE).sentences if "[12]" in entry.quote.text)
    made = compose(quoted([quote]), EVIDENCE, no_boxes)
    assert made.answer == "The filter is washed weekly. [1]"
    assert made.citations[0].quote == "The filter is washed weekly [12]."


def test_a_quote_of_which_nothing_is_shown_is_not_cited() -> None:
    text = "[12]\n\nThe lamp is green."
    hit = Hit(1, 1.0, text, "/a.md", "A", None, "", 0, len(text), "doc", "chunk", ("dense",), "en", "version")
    made = compose(quoted([Quote(1, 0, 4, "[12]"), Quote(1, 6, 24, text[6:])]), [Evidence(1, hit, True)], no_boxes)
    assert made.answer == "The lamp is green. [1]"
    assert [citation.quote for citation in made.citations] == ["The lamp is green."]


def test_a_row_reads_well_and_its_citation_stays_exact() -> None:
    text = "| Lamp | 25 | red |"
    hit = Hit(1, 1.0, text, "/a.md", "A", None, "", 0, len(text), "doc", "chunk", ("dense",), "en", "version")
    made = compose(quoted([Quote(1, 0, len(text), text)]), [Evidence(1, hit, True)], no_boxes)
    assert made.answer == "Lamp · 25 · red [1]"
    assert made.sentences[0].text == "Lamp · 25 · red"
    assert made.citations[0].quote == text
    assert short_answer(made, Located(Quote(1, 0, len(text), text), 2, 11)) == "Lamp · 25"


def test_facts_of_two_sentences_mixed_into_one_are_not_supported() -> None:
    claims = check("The pump is washed weekly at 40 Hz.", EvidenceIndex(EVIDENCE), RuleVerifier(0.7))
    assert [claim.supported for claim in claims] == [False]


def test_boxes_and_their_page_are_looked_up_by_span() -> None:
    asked = []

    def boxes(version: str, start: int, end: int) -> tuple[Box, ...]:
        asked.append((version, start, end))
        return (Box(4, 0, 0, 1, 1),)

    quote = EvidenceIndex(EVIDENCE).sentences[0].quote
    made = compose(quoted([quote]), EVIDENCE, boxes)
    assert asked == [("version", quote.start, quote.end)]
    assert made.citations[0].page == 4


WORDS = st.sampled_from(
    [
        "The",
        "pump",
        "runs",
        "at",
        "40",
        "Hz",
        ".",
        "filter",
        "is",
        "washed",
        "weekly",
        "lamp",
        "green",
        "[3]",
        "(1)",
        "[9,",
        "2]",
        "\n",
        "not",
        "50",
        "आख़िरी",
        "वाक्य।",
    ]
)


@given(st.lists(WORDS, max_size=40))
def test_whatever_is_drafted_spans_quotes_and_markers_are_exact(words: list[str]) -> None:
    index = EvidenceIndex(EVIDENCE)
    claims = check(" ".join(words), index, RuleVerifier(0.7))
    made = compose([claim for claim in claims if claim.supported], EVIDENCE, no_boxes)
    known = [citation.marker for citation in made.citations]
    assert known == list(range(1, len(known) + 1))
    assert all(DOCUMENT[c.start : c.end] == c.quote and c.quote for c in made.citations)
    assert all(made.answer[s.start : s.end] == s.text and not re.search(r"\[\d", s.text) for s in made.sentences)
    assert {int(number) for number in re.findall(r"\[(\d+)\]", made.answer)} == set(known)
    assert all(sentence.citations for sentence in made.sentences)


def test_quotes_of_evidence_are_slices_of_the_document() -> None:
    quotes: list[Quote] = [entry.quote for entry in EvidenceIndex(EVIDENCE).sentences]
    assert len(quotes) == 5
    assert all(DOCUMENT[quote.start : quote.end] == quote.text for quote in quotes)
