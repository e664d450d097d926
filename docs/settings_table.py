"""Write the table of settings into `docs/user-guide.md`, from the settings themselves: `make docs`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from ckllm.config import Settings

PAGE = Path(__file__).resolve().parent / "user-guide.md"
MARKS = ("<!-- settings: made by `make docs` -->\n", "<!-- end of settings -->\n")


def table() -> str:
    """The settings as a Markdown table, in the order of the sections."""
    head = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *_rows()]) + "\n"


def _rows() -> Iterator[str]:
    for section, outer in Settings.model_fields.items():
        for name, field in getattr(outer.annotation, "model_fields", {}).items():
            cells = (f"`{section}.{name}`", _values(field), _default(field), field.description or "")
            yield "| " + " | ".join(cells) + " |"


def _values(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) is tuple:
        return "texts" if get_args(kind)[0] is str else "tables"
    choices = get_args(kind)
    if choices and all(isinstance(choice, str) for choice in choices):
        return " ".join(f"`{choice}`" for choice in choices)
    words = {str: "text", int: "whole number", float: "number", bool: "`true` `false`"}
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{signs[name]} {limit:g}"
        for part in field.metadata
        for name in signs
        if (limit := getattr(part, name, None)) is not None
    ]
    return ", ".join([words.get(kind, "text"), *limits])


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, tuple):
        return " ".join(f"`{one}`" for one in default)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"`{default:g}`"
    return f"`{default}`" if isinstance(default, str) and default else ""


def inserted(page: str) -> str:
    """The page with a fresh table between its marks."""
    start, end = MARKS
    return re.sub(re.escape(start) + ".*?" + re.escape(end), lambda _: f"{start}\n{table()}\n{end}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
