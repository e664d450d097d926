"""What Streamlit has no element for. Its content is handed over as data and written as text nodes, never as HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).parent / "assets"


def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_answer = st.components.v2.component(
    "ckllm_answer", html='<div class="root"></div>', css=asset("answer.css"), js=asset("answer.js")
)
_source = st.components.v2.component(
    "ckllm_source", html='<div class="root"></div>', css=asset("source.css"), js=asset("source.js")
)


def answer(data: dict[str, Any], key: str, opened: Callable[[int], None]) -> None:
    """An answer, or a refusal with its nearest passages. `opened` is called with the number of what was clicked."""

    def clicked() -> None:
        number = st.session_state[key].get("open")
        if isinstance(number, int):
            opened(number)

    _answer(data=data, key=key, on_open_change=clicked)


def source(data: dict[str, Any], key: str) -> None:
    """A document's text or page with a span marked and scrolled to."""
    _source(data=data, key=key)
