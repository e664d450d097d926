from __future__ import annotations

import json
import math

import pytest

from ckllm.json_text import json_text


@pytest.mark.parametrize(("value", "encoding"), [({"id": "\ud800"}, "utf-8"), (["naïve", "水"], "ascii"), ("水", "latin-1")])
def test_what_the_encoding_cannot_hold_is_escaped(value: object, encoding: str) -> None:
    text = json_text(value, encoding)
    assert json.loads(text.encode(encoding)) == value and "\\u" in text


def test_everything_else_stays_readable() -> None:
    assert json_text({"city": "München"}) == '{"city": "München"}'


def test_numbers_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(math.nan)
    assert json_text(math.nan, allow_nan=True) == "NaN"
