"""From logits to words and sentences, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from ckllm.contracts import Evidence, Hit, Quote
from ckllm.embedding.tokens import Tokens
from ckllm.reader.base import FIRST, LONGEST_ANSWER, UNREAD, Reading, read_until_sure
from ckllm.reader.evidence import ReadEvidence
from ckllm.reader.pairs import LONGEST_QUESTION, MOST_TOKENS, pair
from tests.reader.words import WordReader

TEXT = "Ducks swim. The mine was closed in 1911. Trams ran."


def reading(starts: dict[int, float], ends: dict[int, float], tokens: int = 50, none: float = 1.0) -> Reading:
    """Tokens of two characters each; logits are -5 where nothing is said."""
    offsets = np.array([(2 * n, 2 * n + 2) for n in range(tokens)], np.int64)
    logits = [np.full(tokens, -5, np.float32) for _ in range(2)]
    for array, given in zip(logits, (starts, ends), strict=True):
        for place, value in given.items():
            array[place] = value
    return Reading(offsets, logits[0], logits[1], np.zeros(tokens, np.float32), none)


def test_the_answer_is_the_best_span_and_its_margin_is_over_none() -> None:
    assert reading({3: 4.0, 9: 1.0}, {5: 3.0, 9: 1.0}).answer() == (6.0, 6, 12)


def test_an_answer_does_not_end_before_it_starts_nor_last_for_ever() -> None:
    assert reading({9: 5.0}, {3: 5.0, 11: 2.0}).answer() == (6.0, 18, 24)
    assert reading({0: 5.0}, {LONGEST_ANSWER: 5.0, LONGEST_ANSWER - 1: 2.0}).answer()[2] == 2 * LONGEST_ANSWER


def test_only_the_sentence_that_is_asked_for_is_looked_at() -> None:
    one = reading({3: 9.0, 20: 4.0}, {4: 9.0, 21: 4.0})
    assert one.answer(30, 60) == (7.0, 40, 44)
    assert one.answer(31, 32) == (UNREAD, 31, 31)
    assert one.bearing(31, 32) == 0.0
    assert one.bearing(0, 60) == pytest.approx(0.5)


def test_what_was_cut_off_answers_nothing_however_surely_the_passage_does() -> None:
    one = reading({3: 9.0}, {4: 9.0}, none=-8.0)
    assert one.answer(0, 20)[0] > 0
    assert one.answer(100, 140)[0] == UNREAD


def test_a_pair_keeps_the_beginning_of_a_question_out_rather_than_the_passage() -> None:
    long = Tokens([6] * 500 + [7] * 100, [(n, n + 1) for n in range(600)])
    made = pair(long, Tokens([8], [(0, 1)]), long)
    assert len(made.ids) == MOST_TOKENS
    assert made.ids[: LONGEST_QUESTION + 4] == [0, *[7] * LONGEST_QUESTION, 2, 2, 8]
    assert made.ids[made.first - 1] == 8
    assert made.ids[-1] == 2
    assert len(made.offsets) == MOST_TOKENS - made.first - 1


def hit(text: str, start: int) -> Hit:
    return Hit(
        rank=1, score=0.0, text=text, source="/a", title="", page=None, section="", start=start, end=start + len(text),
        document_id="d", chunk_id="c", found_by=(),
    )  # fmt: skip


def test_a_narrowed_passage_is_read_as_it_was_found() -> None:
    reader = WordReader()
    at = TEXT.index("The mine")
    narrowed = hit(TEXT[at : at + 29], 100 + at)
    read = ReadEvidence(reader, "When was the mine closed", [hit(TEXT, 100)], [Evidence(4, narrowed, True)])
    found = read.sentence(Quote(4, 100 + at, 100 + at + 29, narrowed.text))
    assert reader.given == [TEXT]
    assert TEXT[found.start - 100 : found.end - 100] == "1911"
    assert found.bearing > 0.5
    assert read.sentence(Quote(4, 100, 111, "Ducks swim.")).bearing < 0.5


def test_passages_behind_one_that_surely_answers_are_not_read() -> None:
    reader = WordReader()
    texts = ["Ducks swim.", TEXT, "Trams ran.", "The mine was old.", "Bells ring."]
    hits = [hit(text, 0) for text in texts]
    assert len(read_until_sure(reader, "When was the mine closed", hits)) == FIRST
    assert reader.given == texts[:FIRST]
    assert len(read_until_sure(WordReader(), "When did the trams stop", hits)) == len(hits)
    assert read_until_sure(WordReader(), "When", []) == []


def test_what_was_not_read_bears_on_nothing() -> None:
    entries = [Evidence(n, Hit(
        rank=n, score=0.0, text=TEXT, source="/a", title="", page=None, section="", start=0, end=len(TEXT), document_id=f"d{n}",
        chunk_id=f"c{n}", found_by=(),
    ), False) for n in range(1, 6)]  # fmt: skip
    read = ReadEvidence(WordReader(), "When was the mine closed", [entry.hit for entry in entries], entries)
    at = TEXT.index("The mine")
    assert read.sentence(Quote(FIRST, at, at + 29, "")).margin > 0
    assert read.sentence(Quote(FIRST + 1, at, at + 29, "")).margin == UNREAD
