"""Numbers and dates, and what may be two of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckllm.records.conditions import plain
from ckllm.records.values import date, dates, number, numbers
from ckllm.records.words import folded, words


@pytest.mark.parametrize(
    ("cells", "comma", "values"),
    [
        (["1,234", "56"], False, [1234, 56]),
        (["1,234", "56"], True, [1.234, 56]),
        (["1,234", "56"], None, None),  # nobody knows
        (["1,234", "5.5"], None, [1234, 5.5]),
        (["1.234", "5,5"], None, [1234, 5.5]),
        (["1.234,5", "1,234.5"], False, None),
        (["€ 20", "30 €"], False, [20, 30]),
        (["20 kg", "30"], False, None),
        (["-5", "−7"], False, [-5, -7]),
        (["12 000", "1'500"], False, [12000, 1500]),
        (["१२", "७"], False, [12, 7]),
        (["", "n/a", "4"], False, [None, None, 4]),
        (["", "-"], False, None),
        (["1,00,000", "2"], False, [100000, 2]),
        (["about 3", "4"], False, None),
        (["20-30", "4"], False, None),
        (["0,125", "1,500"], None, [0.125, 1.5]),
    ],
)  # fmt: skip
def test_columns_of_numbers(cells: list[str], comma: bool | None, values: list[float | None] | None) -> None:
    found = numbers(cells, comma)
    assert (None if found is None else [found.by_cell[cell] for cell in cells]) == values


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2021-03-04", (2021, 3, 4)), ("4.3.2021", (2021, 3, 4)), ("4 March 2021", (2021, 3, 4)), ("March 4, 2021", (2021, 3, 4)),
        ("März 2021", (2021, 3, 0)), ("4 de marzo de 2021", (2021, 3, 4)), ("2021-13-04", None),
        ("3/4/2021", None), ("4 Lunch 2021", None),
    ],
)  # fmt: skip
def test_dates(text: str, day: tuple[int, int, int] | None) -> None:
    assert date(text) == day


def test_day_and_month_are_told_by_the_column() -> None:
    assert dates(["03/04/2021", "25/04/2021"]) == {"03/04/2021": (2021, 4, 3), "25/04/2021": (2021, 4, 25)}
    assert dates(["03/04/2021", "04/25/2021"]) == {"03/04/2021": (2021, 3, 4), "04/25/2021": (2021, 4, 25)}
    assert dates(["03/04/2021", "04/05/2021"]) is None
    assert dates(["2021-01-01", "soon"]) is None


@given(st.integers(min_value=0, max_value=10**9))
def test_thousands_are_read_as_they_are_written(value: int) -> None:
    assert number(f"{value:,}", comma_is_decimal=False) == value
    assert number(f"{value:,}".replace(",", "."), comma_is_decimal=True) == value


@given(st.text(max_size=40))
def test_any_text_has_words_at_their_place(text: str) -> None:
    for word in words(text, ("en",)):
        assert text[word.start : word.end] == word.text
        assert word.key == folded(word.text)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (1.50004, "1.5"),
        (0.1 + 0.2, "0.3"),
        (0.00002, "0.00002"),
        (-0.000314159, "-0.0003142"),
        (1e21, "1" + 21 * "0"),
    ],
)
def test_numbers_are_written_without_losing_what_is_small(value: float, written: str) -> None:
    assert plain(value) == written
