"""Markers: the model's own are taken out, ours are put in.

A small model writes `[9]`, `(1)` or `Source 2` wherever it likes. What it writes is never the source of a citation, so all of it
is removed, from the draft that is streamed as well as from the answer; so are Markdown links and images, which a document could
have planted in the answer to fetch something when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable

import regex

_NUMBERS = r"\d+(?:\s*[,;–-]\s*\d+)*"
_NAMED = r"(?:source|sources|passage|passages|document|citation|ref|reference|quelle|fuente|स्रोत)"
_BRACKETED = regex.compile(
    rf"\s*(?:\[\^?\s*{_NUMBERS}\s*\]|【[^】\n]{{0,40}}】|\[\s*{_NAMED}\s*#?{_NUMBERS}\s*\])", regex.IGNORECASE
)
_MODEL_MADE = regex.compile(rf"\s*\(\s*{_NAMED}\s*#?\s*{_NUMBERS}\s*\)|\s+\(\d{{1,2}}\)(?=\s*(?:[.!?।。]|$))", regex.IGNORECASE)
_FRAME = regex.compile(r"<\s*/?\s*passage\b\s*\d*\s*(?::[^<>\n]{0,200}>|[:>])\s*", regex.IGNORECASE)
"""The frame of a passage in the prompt, `<passage 2: title>`, which small models like to begin with."""
_IMAGE = regex.compile(r"!\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)")
_LINK = regex.compile(r"\[([^\[\]]+)\]\((?:[^()]|\([^()]*\))*\)")
_NAMES = (
    r"a|abbr|area|article|aside|audio|b|base|blockquote|body|br|button|canvas|code|details|dialog|div|dl|dt|dd"
    r"|embed|em|fieldset|figure|font|footer|form|frame|frameset|h[1-6]|head|header|hr|html|i|iframe|img|input"
    r"|ins|label|li|link|main|map|marquee|math|meta|nav|noscript|object|ol|option|p|param|picture|pre|q|s|script"
    r"|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea"
    r"|tfoot|th|thead|title|tr|track|u|ul|video"
)
_TAG = regex.compile(rf"</?(?:{_NAMES})(?:[\s/][^<>\n]{{0,400}})?>|<!(?:--|[A-Za-z])[^<>\n]{{0,400}}>", regex.IGNORECASE)
"""Tags of HTML; "values <LOD and >5" is none."""
_DEFINITION = regex.compile(r"^[ \t]*\[([^\[\]]+)\]:", regex.MULTILINE)
_OPENED = regex.compile(r"<(?=[A-Za-z/!?])")
_CODE = regex.compile(r"(?<![\\`])(`+)(?!`)(?:(?!\1(?!`)).)*?[^`]\1(?!`)", regex.DOTALL)
_ADDRESS = regex.compile(
    r"(?:(?:https?|ftp)://|www\.)[^\s<>`]*[^\s<>`.,;:!?'\")\]}*_~…]|(?<![\w@./-])(?:[a-z0-9-]+\.)+[a-z]{2,}/[^\s<>`]+",
    regex.IGNORECASE,
)
_INVISIBLE = regex.compile(r"[\p{Cc}\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
"""Controls, overrides of the writing direction, and characters without width; the joiners of Indic scripts stay."""
_LONGEST = 200
"""Characters that an open bracket may hold back in a stream; what is longer is shown without its brackets."""
_OPENING, _CLOSING = "[【(<", "]】)>"
_BRACKETS = {ord(character): None for character in _OPENING + _CLOSING}


def without_brackets(text: str) -> str:
    """`text` without anything that looks like a marker, with single spaces, and with nothing in it that a viewer of Markdown or
    HTML would fetch, run or follow: fit to be shown in an answer.
    """
    seen = _INVISIBLE.sub("", " ".join(text.split()))
    plain = _settled(lambda words: _BRACKETED.sub("", _LINK.sub(r"\1", _IMAGE.sub(r"\1", words))), seen)
    return " ".join(_inactive(plain).split())


def without_markup(text: str) -> str:
    """Links and images reduced to their words, HTML tags taken out: nothing is left that a viewer would fetch or follow."""
    words = _settled(lambda words: _TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub(r"\1", words))), text)
    return _apart(_DEFINITION.sub(r"\1 ", words))


def clean_draft(text: str) -> str:
    """What a model wrote, without its markers and without active markup; line breaks are kept."""
    return _settled(lambda words: _MODEL_MADE.sub("", _BRACKETED.sub("", without_markup(_FRAME.sub("", words)))), text)


def _apart(text: str) -> str:
    """Spaces where a link or a tag would begin all the same: broken ones, which one viewer or another mends."""
    return _OPENED.sub("< ", text.replace("](", "] ("))


def _inactive(text: str) -> str:
    """`text` on one line with addresses as code, which no viewer makes a link of, and without links and tags."""
    parts: list[str] = []
    at = 0
    for match in _CODE.finditer(text):
        parts += [_outside(text[at : match.start()]), match.group()]
        at = match.end()
    whole = ""
    for part in (*parts, _outside(text[at:])):
        # side by side, the backquotes of two pieces of code would be one longer run, and neither would be code
        whole += " " + part if whole.endswith("`") and part.startswith("`") else part
    return whole


def _outside(text: str) -> str:
    """What stands between pieces of code: stray backquotes, which would pair with ours, are taken out."""
    words = _apart(_DEFINITION.sub(r"\1 ", text.replace("`", "")))
    return _ADDRESS.sub(
        lambda match: ("" if match.start() == 0 or words[match.start() - 1] != "\\" else " ") + f"`{match.group()}`", words
    )


def _settled(step: Callable[[str], str], text: str) -> str:
    """`step` until nothing changes: taking out `[1]` from `[1[1]]` leaves another one. Every step shortens, so it ends."""
    while (after := step(text)) != text:
        text = after
    return text


class DraftFilter:
    """Takes markers and links out of a stream of text pieces, holding back as little as it can."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now that `piece` has come."""
        self._held += piece
        cut = _open_at(self._held)
        shown, self._held = self._held[:cut], self._held[cut:]
        if len(self._held) > _LONGEST:
            shown, self._held = shown + self._held.translate(_BRACKETS), ""
        return clean_draft(shown)

    def close(self) -> str:
        """What is left at the end of the stream."""
        shown, self._held = self._held, ""
        return clean_draft(shown)


def _open_at(text: str) -> int:
    """Where a marker, link or tag may have begun that later pieces could complete; the length where none has."""
    depth, start = 0, -1
    for at, character in enumerate(text):
        if character in _OPENING:
            start = at if start < 0 else start
            depth += 1
        elif character in _CLOSING:
            depth = max(0, depth - 1)
        elif depth == 0:
            start = -1
    undecided = len(text) if start < 0 else start
    if text[undecided - 1 : undecided] == "!":
        undecided -= 1
    return len(text[:undecided].rstrip())
