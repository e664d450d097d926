from __future__ import annotations

import pytest

from ckllm.citations.refusal import RefusalPolicy, Signals, script
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.reader.evidence import SentenceReading

EMBEDDER = HashingEmbedder()
QUESTION = EMBEDDER.embed(["How fast does the pump run?"], "query")


def doubt(signals: Signals, caution: str = "balanced") -> str:
    return RefusalPolicy(EMBEDDER, caution).doubt(QUESTION, signals)


def test_a_close_sentence_is_answered_and_a_far_one_refused_with_its_reason() -> None:
    assert doubt(Signals(0.9, 0.0, 0.0)) == ""
    assert "other things" in doubt(Signals(0.1, 0.2, 0.1))
    assert "about this subject" in doubt(Signals(0.1, 0.9, 0.4))


def test_caution_moves_the_threshold() -> None:
    between = Signals(0.55, 1.0, 0.0)
    assert [bool(doubt(between, caution)) for caution in ("strict", "balanced", "open")] == [True, False, False]


def test_a_sentence_with_most_words_of_the_question_needs_less_closeness() -> None:
    assert doubt(Signals(0.4, 1.0, 0.5))
    assert not doubt(Signals(0.4, 1.0, 0.9))


def test_across_scripts_less_closeness_is_asked_for() -> None:
    assert doubt(Signals(0.4, 0.0, 0.0))
    assert not doubt(Signals(0.4, 0.0, 0.0, across_scripts=True))


def test_less_closeness_is_asked_for_the_surer_a_reader_sees_the_words() -> None:
    doubting, unsure, sure = (SentenceReading(margin, 0.5, 0, 4) for margin in (-4.0, 0.0, 4.0))
    refused = [
        [bool(doubt(Signals(close, 1.0, 0.0, read=read))) for close in (0.49, 0.53, 0.6)] for read in (doubting, unsure, sure)
    ]
    assert refused == [[True, True, False], [True, False, False], [False, False, False]]
    assert doubt(Signals(0.2, 1.0, 0.0, read=sure))


@pytest.mark.parametrize(("text", "expected"), [("Who?", "LATIN"), ("पुल 12", "DEVANAGARI"), ("大桥吗 ok", "CJK"), ("12 !", "")])
def test_script(text: str, expected: str) -> None:
    assert script(text) == expected
