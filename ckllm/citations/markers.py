"""Markers: the model's own are taken out, ours are put in.

A small model writes `[9]`, `(1)` or `Source 2` wherever it likes. What it writes is never the source of a citation, so all of it
is removed, from the draft that is streamed as well as from the answer; so are Markdown links and images, which a document could
have planted in the answer to fetch something when it is shown.
"""

from __future__ import annotations

import regex

_NUMBERS = r"\d+(?:\s*[,;–-]\s*\d+)*"
_NAMED = r"(?:source|sources|passage|passages|document|citation|ref|reference|quelle|fuente|स्रोत)"
_BRACKETED = regex.compile(
    rf"\s*(?:\[\^?\s*{_NUMBERS}\s*\]|【[^】\n]{{0,40}}】|\[\s*{_NAMED}\s*#?{_NUMBERS}\s*\])", regex.IGNORECASE
)
_MODEL_MADE = regex.compile(rf"\s*\(\s*{_NAMED}\s*#?\s*{_NUMBERS}\s*\)|\s+\(\d{{1,2}}\)(?=\s*(?:[.!?।。]|$))", regex.IGNORECASE)
_IMAGE = regex.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_LINK = regex.compile(r"\[([^\]\n]+)\]\([^)\n]*\)")
_TAG = regex.compile(r"</?[A-Za-z!][^<>\n]{0,400}>")
_LONGEST = 48
"""Characters that an unclosed bracket may hold back in a stream."""


def without_brackets(text: str) -> str:
    """`text` without anything of the form of a citation marker, and white space made single spaces.

    Fit to be shown in an answer.
    """
    return " ".join(_BRACKETED.sub("", text).split())


def without_markup(text: str) -> str:
    """Links and images reduced to their words, HTML tags taken out: nothing is left that a viewer would fetch or follow."""
    return _TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub(r"\1", text)))


def clean_draft(text: str) -> str:
    """What a model wrote, without its markers and without active markup; line breaks are kept."""
    return _MODEL_MADE.sub("", _BRACKETED.sub("", without_markup(text)))


class DraftFilter:
    """Takes markers and links out of a stream of text pieces, holding back as little as it can."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now that `piece` has come."""
        self._held += piece
        cut = self._safe()
        shown, self._held = self._held[:cut], self._held[cut:]
        return clean_draft(shown)

    def close(self) -> str:
        """What is left at the end of the stream."""
        shown, self._held = self._held, ""
        return clean_draft(shown)

    def _safe(self) -> int:
        """Length of the beginning that no later piece can turn into a marker or a link."""
        text = self._held
        for at in range(max(0, len(text) - _LONGEST), len(text)):
            if text[at] in "[【(<!" or text[at].isspace():
                rest = text[at:].lstrip()
                if not rest or (rest[0] in "[【(<!" and not _closed(rest)):
                    return at
        return len(text)


def _closed(text: str) -> bool:
    """Whether the bracket that `text` begins with is closed, together with the target of a link after it."""
    closing = {"[": "]", "【": "】", "(": ")", "<": ">"}.get(text[0])
    if closing is None:
        return len(text) > 1 and text[1] != "["
    end = text.find(closing)
    if end < 0:
        return False
    following = text[end + 1 :]
    if text[0] != "[":
        return bool(following)
    return bool(following) and (following[0] != "(" or ")" in following)
