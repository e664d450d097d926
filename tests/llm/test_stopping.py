"""Stop strings in streams."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.llm.stopping import StopFilter

_texts = st.text(alphabet="ab<|>", max_size=30)


@settings(deadline=None)
@given(pieces=st.lists(_texts, max_size=8), stop=st.text(alphabet="ab<|>", min_size=1, max_size=5))
def test_the_text_before_the_first_stop_is_shown_however_it_is_cut(pieces: list[str], stop: str) -> None:
    whole = "".join(pieces)
    stops = StopFilter((stop,))
    shown = "".join(stops.feed(piece) for piece in pieces) + stops.flush()
    assert shown == whole.split(stop)[0]
    assert stops.found == (stop if stop in whole else "")


def test_text_is_passed_on_as_soon_as_it_cannot_be_a_stop() -> None:
    stops = StopFilter(("STOP",))
    assert stops.feed("Hello S") == "Hello "
    assert stops.feed("T") == ""
    assert stops.feed("A") == "STA"


def test_of_several_the_one_that_begins_first_wins() -> None:
    stops = StopFilter(("world", "lo"))
    assert stops.feed("hello world") == "hel"
    assert stops.found == "lo"
