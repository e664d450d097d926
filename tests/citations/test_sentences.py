from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.citations.sentences import split_sentences

TEXTS = st.text(alphabet=st.sampled_from("ab Z.!?\n\t|-*1।。 \u200d\u00e9\U0001f600हिक文"), max_size=120)


@given(TEXTS | st.text(max_size=80), st.sampled_from(["", "en", "hi", "zh", "ar", "th", "tlh"]))
def test_spans_are_exact_ordered_and_lose_nothing(text: str, lang: str) -> None:
    spans = split_sentences(text, lang)
    assert all(text[span.start : span.end] == span.text for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert "".join("".join(span.text.split()) for span in spans) == "".join(text.split())


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "Dr. Lee measured 3.5 bar. It held.", ["Dr. Lee measured 3.5 bar.", "It held."]),
        ("hi", "पुल बन गया। नदी चौड़ी है।", ["पुल बन गया।", "नदी चौड़ी है।"]),
        ("zh", "大桥建成了。河很宽！", ["大桥建成了。", "河很宽！"]),
        ("ar", "بني الجسر. هل هو طويل؟", ["بني الجسر.", "هل هو طويل؟"]),
    ],
)
def test_boundaries_by_language(lang: str, text: str, expected: list[str]) -> None:
    assert [span.text for span in split_sentences(text, lang)] == expected


def test_a_line_break_inside_a_sentence_does_not_end_it() -> None:
    assert [span.text for span in split_sentences("The valve closes\nat five bar. It opens again.")] == [
        "The valve closes\nat five bar.",
        "It opens again.",
    ]


def test_emphasis_ends_with_what_it_emphasises() -> None:
    text = "**Note.** The valve closes. *It opens again at five bar on its own.* Then it _holds._"
    assert [span.text for span in split_sentences(text)] == [
        "**Note.** The valve closes.",
        "*It opens again at five bar on its own.*",
        "Then it _holds._",
    ]


def test_items_and_rows_end_at_their_line() -> None:
    text = "Steps:\n- drain the tank\n- close the valve\n\n| part | bar |\n| valve | 5 |"
    assert [span.text for span in split_sentences(text)] == [
        "Steps:",
        "- drain the tank",
        "- close the valve",
        "| part | bar |",
        "| valve | 5 |",
    ]
