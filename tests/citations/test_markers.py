from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.citations.markers import DraftFilter, clean_draft, without_brackets

ANY_MARKER = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")


@pytest.mark.parametrize(
    ("draft", "clean"),
    [
        ("It is red [1].", "It is red."),
        ("It is red [1, 2][^3].", "It is red."),
        ("It is red【4†source】.", "It is red."),
        ("It is red [Source 2].", "It is red."),
        ("It is red (Passage 2).", "It is red."),
        ("It is red (1).", "It is red."),
        ("In (1990) it was red.", "In (1990) it was red."),
        ("a[i] = b[0x1]", "a[i] = b[0x1]"),
        ("See ![x](http://evil.example/?q=1) now", "See x now"),
        ("Click [here](http://evil.example)!", "Click here!"),
        ('<img src="http://evil.example"> red', " red"),
        ("2 < 3 and 5 > 4", "2 < 3 and 5 > 4"),
        ("<passage 2: The Old Bridge> It is red.\n</passage>", "It is red.\n"),
        ("< passage 3: > It is red.", "It is red."),
        ("<passage 2: It is red, as all of them are.", "It is red, as all of them are."),
        ("The passage 2: is it red?", "The passage 2: is it red?"),
    ],
)
def test_markers_and_links_are_removed(draft: str, clean: str) -> None:
    assert clean_draft(draft) == clean


@given(
    st.lists(st.sampled_from(["word", " ", "[", "]", "1", ",", "9", "(", ")", "!", ".", "\n", "http://x"]), max_size=40),
    st.data(),
)
def test_no_marker_gets_through_a_stream_however_it_is_cut(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    shown, filtered, at = "", DraftFilter(), 0
    while at < len(text):
        size = data.draw(st.integers(1, 5))
        shown += filtered.feed(text[at : at + size])
        at += size
    shown += filtered.close()
    assert not ANY_MARKER.search(shown)
    assert not re.search(r"\[[^\]\n]+\]\([^)\n]*\)", shown)
    assert len("".join(shown.split())) <= len("".join(text.split()))


def test_plain_words_are_not_held_back() -> None:
    filtered = DraftFilter()
    assert [filtered.feed(piece) for piece in ("It", " is", " red", " [1", "].", " Yes")] == [
        "It",
        " is",
        " red",
        "",
        ".",
        " Yes",
    ]


@given(st.text(alphabet="a[]1, 9\n", max_size=60))
def test_what_is_shown_holds_no_marker(text: str) -> None:
    assert not ANY_MARKER.search(without_brackets(text))


def test_signs_of_comparison_are_no_tags() -> None:
    text = "Samples with values <LOD are reported as zero.\n\nOther samples have values >LOD and are listed."
    assert "are reported as zero" in clean_draft(text)
    assert clean_draft("a <b>bold</b> word") == "a bold word"
