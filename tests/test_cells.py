from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.cells import readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("| Lamp | 25 | red |", "Lamp · 25 · red"),
        ("Lamp | 25 | red", "Lamp · 25 · red"),
        (
            "| Name | City |\n|---|:--:|\n| A \\| B | Rome |\n| C |  |\n\nText after.",
            "Name · City;\nA | B · Rome;\nC\n\nText after.",
        ),
        ("What | Price\nLocker | 5 crowns\nKey | 2 crowns", "What · Price;\nLocker · 5 crowns;\nKey · 2 crowns"),
        ("cat a | sort", "cat a | sort"),
        ("cat a | sort -u | wc", "cat a | sort -u | wc"),
        ("P(a | b) is small.", "P(a | b) is small."),
        ("x || y | z | w", "x || y | z | w"),
        ("No row at all.", "No row at all."),
    ],
)
def test_rows_are_shown_as_cells(text: str, shown: str) -> None:
    assert readable(text) == shown


@given(st.text(alphabet="ab |-\\\n", max_size=60))
def test_no_word_is_lost(text: str) -> None:
    assert [c for c in readable(text) if c in "ab"] == [c for c in text if c in "ab"]
