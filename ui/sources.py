"""The passage that stands open: its page as a picture with boxes on the words, or the text with the words marked."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from ckllm.client import RefusedError
from ckllm.contracts import Box, DocumentText, PageSpan
from ckllm.errors import UnknownDocumentError
from ui import components
from ui.connection import guarded
from ui.markup import escaped, name_of
from ui.place import Place
from ui.session import State

_AROUND = 20_000
"""Characters of text shown on either side of a passage: a book is not sent to the browser whole."""
_SCALE = 2.0
_NO_PICTURE = (404, 422)


def beside(now: State, place: Place, go: Callable[[Place | None], None], page: Callable[[State], None]) -> None:
    """A page with the open document at its right; trouble in one of them leaves the other as it is."""
    left, right = st.columns([11, 10], gap="large")
    with right, guarded(now):
        panel(now, place, go)
    with left, guarded(now):
        page(now)


def panel(now: State, place: Place, go: Callable[[Place | None], None]) -> None:
    """The document beside the answer; `go` is called with another place to show, or None to close.

    UnavailableError and RefusedError pass through.
    """
    with st.container(key="source", gap="small"):
        title = escaped(place.title or name_of(place.source))
        st.html(f'<div class="ck-source-title" dir="auto">{title}</div>')
        try:
            text = now.once("text", place, lambda: now.client.document_text(place.document_id))
        except UnknownDocumentError:
            _head(place, 0, go)
            st.info("This document is no longer there, or you may no longer see it.", icon=":material/hide_source:")
            return
        if text.reason:
            st.info(f"There is no text to show: {text.reason}", icon=":material/hide_source:")
            return
        span = _span(text.pages, place)
        picture = _picture(now, place, span)
        view = _head(place, len(text.pages) if picture is not None else 0, go)
        about = {"id": f"{place.document_id}:{place.page}:{place.start}:{place.end}:{view}", "view": view}
        if view == "page" and picture is not None and span is not None:
            image = base64.b64encode(picture).decode()
            label = f"Page {span.page} of {place.title}"
            components.source({"image": image, "boxes": boxes(place.boxes, span), "label": label, **about}, key="source-view")
        else:
            excerpted = excerpt(text, place.start, place.end)
            components.source({**excerpted, "label": f"Text of {place.title}", **about}, key="source-view")


def _head(place: Place, pages: int, go: Callable[[Place | None], None]) -> str:
    """Where the passage stands, how to see it, and the way out: "page" or "text". `pages`: 0 where there are no pictures."""
    shown: str | None = None
    about = " · ".join(part for part in (f"page {place.page}" if place.page else "", place.section) if part)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="source-head"):
        st.html(f'<div class="ck-source-where" dir="auto">{escaped(about or name_of(place.source))}</div>', width="stretch")
        if pages > 1 and place.page:
            _turns(place, place.page, pages, go)
        if pages:
            given = "Page" if place.boxes or place.start == place.end else "Text"
            key = f"view-{place.document_id}-{place.start}-{place.end}"
            shown = st.segmented_control("Show as", ["Page", "Text"], default=given, key=key, label_visibility="collapsed")
        st.button("Close", icon=":material/close:", key="icon-close", type="tertiary", on_click=go, args=(None,))
    return "page" if shown == "Page" else "text"


def _turns(place: Place, page: int, pages: int, go: Callable[[Place | None], None]) -> None:
    for step, icon, told in ((-1, "chevron_left", "Page before"), (1, "chevron_right", "Next page")):
        st.button(
            told, icon=f":material/{icon}:", key=f"icon-page{step}", type="tertiary", disabled=not 1 <= page + step <= pages,
            on_click=go, args=(replace(place, page=page + step),),
        )  # fmt: skip


def excerpt(text: DocumentText, start: int, end: int) -> dict[str, Any]:
    """The text around a span, the span apart."""
    first, last = max(0, start - _AROUND), min(len(text.text), end + _AROUND)
    return {
        "before": text.text[first:start], "words": text.text[start:end], "after": text.text[end:last],
        "cutBefore": first > 0, "cutAfter": last < len(text.text),
    }  # fmt: skip


def boxes(found: Sequence[Box], span: PageSpan) -> list[dict[str, float]]:
    """Rectangles on one page in percent of its size, so that they fit a picture of any size."""
    return [
        {
            "left": 100 * box.x0 / span.width, "top": 100 * box.y0 / span.height,
            "width": 100 * (box.x1 - box.x0) / span.width, "height": 100 * (box.y1 - box.y0) / span.height,
        }
        for box in found
        if box.page == span.page
    ]  # fmt: skip


def _span(pages: Sequence[PageSpan], place: Place) -> PageSpan | None:
    return next((page for page in pages if page.page == place.page and page.width > 0 and page.height > 0), None)


def _picture(now: State, place: Place, span: PageSpan | None) -> bytes | None:
    """The page as PNG; None for formats without pages, and where the service has no picture of it."""
    if span is None:
        return None

    def made() -> bytes | None:
        try:
            return now.client.document_page(place.document_id, span.page, _SCALE)
        except RefusedError as error:
            if error.status in _NO_PICTURE:
                return None
            raise

    return now.once("page", place, made)
