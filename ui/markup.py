"""Other people's text, made harmless for the two places that would read it as markup: Streamlit's Markdown and our own HTML."""

from __future__ import annotations

import html
import re
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_BLANK = re.compile(r"\s+")


def escaped(text: object) -> str:
    """For HTML, in text and in attributes."""
    return html.escape(str(text), quote=True)


def plain(text: object) -> str:
    """For labels and messages that Streamlit reads as Markdown: every mark is shown as itself, on one line."""
    return _PUNCTUATION.sub(r"\\\1", _BLANK.sub(" ", str(text)).strip())


def shortened(text: str, length: int) -> str:
    """At most `length` characters on one line, cut at a space where there is one."""
    line = _BLANK.sub(" ", text).strip()
    if len(line) <= length:
        return line
    head = line[: length - 1]
    return (head[: head.rfind(" ")] if head.rfind(" ") > length // 2 else head).rstrip(" ,.;:") + "…"


def name_of(source: str) -> str:
    """The last part of a path, an address, or a member of an archive."""
    last = source.rpartition("!/")[2]
    if "://" in last:
        place = urlsplit(last)
        return unquote(place.path.rstrip("/").rpartition("/")[2]) or place.netloc or last
    return (PureWindowsPath(last).name if "\\" in last else PurePosixPath(last).name) or last


def seconds(value: float) -> str:
    """A span of time for people."""
    if value < 0.95:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 59.5 else f"{value / 60:.0f} min"


def bar(name: str, share: float, told: str, *, chosen: bool = False) -> str:
    """A labelled bar of HTML; `share` of its full length."""
    width = max(0.0, min(1.0, share)) * 100
    return (
        f'<div class="ck-bar{" chosen" if chosen else ""}"><span class="ck-bar-name" dir="auto">{escaped(name)}</span>'
        f'<span class="ck-bar-track"><span class="ck-bar-fill" style="width:{width:.1f}%"></span></span>'
        f'<span class="ck-bar-told">{escaped(told)}</span></div>'
    )
