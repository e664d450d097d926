"""Finding one's way in the XML of a DOCX: what is a wrapper, what lies in a text box, what is only a fallback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingestion.parse.docx_styles import W, is_on

MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_WRAPPERS = "ins moveTo hyperlink smartTag sdt sdtContent fldSimple bdo dir customXml ruby rubyBase object pict"
TRANSPARENT = frozenset(f"{W}{tag}" for tag in _WRAPPERS.split())
"""Elements that only wrap content."""


def chosen(alternatives: Any) -> Any:
    """Of an mc:AlternateContent its first choice (for newer programs), else the fallback."""
    choice = alternatives.find(f"{MC}Choice")
    return choice if choice is not None else next(iter(alternatives), alternatives)


def in_fallback(element: Any, top: Any) -> bool:
    for up in element.iterancestors():
        if up is top:
            return False
        if up.tag == f"{MC}Fallback":
            return True
    return False


def outermost(box: Any, top: Any) -> bool:
    for up in box.iterancestors():
        if up is top:
            return True
        if up.tag == f"{W}txbxContent":
            return False
    return True


def in_box(paragraph: Any, cell: Any) -> bool:
    return any(up.tag == f"{W}txbxContent" for up in _ancestors_below(paragraph, cell))


def _ancestors_below(element: Any, top: Any) -> Iterator[Any]:
    for up in element.iterancestors():
        if up is top:
            return
        yield up


def inside(parent: Any, tag: str) -> Iterator[Any]:
    """Children of a kind, also those wrapped in content controls or insertions."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in TRANSPARENT:
            yield from inside(child, tag)


def header_rows(rows: list[Any]) -> int:
    count = 0
    for row in rows:
        if not is_on(row.find(f"{W}trPr/{W}tblHeader")):
            break
        count += 1
    return min(max(count, 1), 3)


def on_colour(run: Any, properties: Any) -> bool:
    """True where white text may stand on a colour: shaded, highlighted, in a table cell, a shape, or on a coloured page."""
    if properties.find(f"{W}shd") is not None or properties.find(f"{W}highlight") is not None:
        return True
    for up in run.iterancestors():
        if up.tag in (f"{W}tc", f"{W}txbxContent") or (up.tag == f"{W}p" and up.find(f"{W}pPr/{W}shd") is not None):
            return True
    return run.getroottree().getroot().find(f"{W}background") is not None


def symbol(element: Any) -> str:
    """A w:sym as the character that it looks like, as far as its font is one of the common ones."""
    code = str(element.get(f"{W}char") or "")
    try:
        value = int(code, 16)
    except ValueError:
        return ""
    if 0x20 < value < 0x80 or 0xF000 <= value <= 0xF0FF:
        font = str(element.get(f"{W}font") or "").lower()
        letter = chr(value & 0xFF)
        if font == "symbol":
            return _SYMBOL.get(letter, letter if " " <= letter < "A" else "")
        if font.startswith("wingdings"):
            return _WINGDINGS.get(letter, "") if font == "wingdings" else ""
    return chr(value) if 0x20 < value < 0xE000 else ""


_SYMBOL = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\xa3\xa5\xab\xac\xad\xae\xaf\xb0\xb1\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xc7\xc8\xcc\xce\xd0\xd1\xd5\xd6\xde\xe5\xf2",
        "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖαβχδεφγηιϕκλμνοπθρστυϖωξψζ≤∞↔←↑→↓°±≥×∝∂•÷≠≡≈∩∪⊂∈∠∇∏√⇒∑∫",
        strict=True,
    )
)
"""Adobe's Symbol encoding, its letters and the commonest signs."""
_WINGDINGS = {"\xfc": "✓", "\xfb": "✗", "\xfe": "☑", "\xfd": "☒", "\xa8": "☐", "o": "☐", "l": "●", "n": "■", "\xe0": "→",
              "\xdf": "←", "\xa7": "▪", "J": "☺", "L": "☹"}  # fmt: skip
