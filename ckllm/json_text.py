"""JSON that can always be written: text that the encoding cannot hold goes as escapes."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any, encoding: str = "utf-8", *, allow_nan: bool = False) -> str:
    """`value` as one line of JSON that `encoding` can write: lone surrogates in UTF-8, nearly everything in ASCII, are escaped.

    ValueError for numbers that are not finite, unless `allow_nan`: JSON has none.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=allow_nan)
    return text
