"""The characters of a PDF page with their places, read through pdfium's text page.

Coordinates are points from the top left corner of the page as it is displayed (crop box, rotation applied).
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_BULLETS = {0xF0B7: "•", 0xF0A7: "▪", 0xF0D8: "➢", 0xF0FC: "✓", 0xF076: "❖", 0xF06E: "■", 0xF0A8: "◻", 0xF071: "❑"}
_HYPHENS = (0x02, 0xFFFE)
_INVISIBLE_MODES = (3, 7)
_WHITE = 250
_OCR_COVER = 0.5


class Style(NamedTuple):
    """How a run of characters is set. `size` in points as displayed, `angle` in degrees as displayed (0: upright)."""

    size: float
    bold: bool
    mono: bool
    angle: int
    hidden: str
    """Why a reader does not see it, "" where he does."""


class Glyph(NamedTuple):
    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    style: Style
    generated: bool
    """True for white space that stands in no content stream: pdfium inferred it from a gap."""


@dataclass(slots=True)
class PageGlyphs:
    number: int
    width: float
    height: float
    glyphs: list[Glyph] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    has_picture: bool = False
    unmapped: int = 0
    remarks: list[str] = field(default_factory=list)
    """What readers noted on the page, each with its author."""


def read_glyphs(page: Any, number: int) -> PageGlyphs:
    """All visible characters of a page, in pdfium's order; newlines are glyphs with text "\\n"."""
    import pypdfium2.raw as pdfium

    width, height = page.get_size()
    found = PageGlyphs(number, width, height)
    text_page = pdfium.FPDFText_LoadPage(page.raw)
    if not text_page:
        return found
    try:
        _Reader(page, text_page, found).run()
    finally:
        pdfium.FPDFText_ClosePage(text_page)
    return found


class _Reader:
    def __init__(self, page: Any, text_page: Any, found: PageGlyphs) -> None:
        self._page = page
        self._text_page = text_page
        self._found = found
        self._transform = _displayed(page)
        self._backdrop: _Backdrop | None = None
        self._last: tuple[Any, Style] | None = None

    def run(self) -> None:
        import pypdfium2.raw as pdfium

        text_page, found = self._text_page, self._found
        unicode_of, is_generated, box_of = (
            pdfium.FPDFText_GetUnicode,
            pdfium.FPDFText_IsGenerated,
            pdfium.FPDFText_GetLooseCharBox,
        )
        rectangle = pdfium.FS_RECTF()
        into = ctypes.byref(rectangle)
        a, b, c, d, e, f = self._transform
        style = Style(10.0, False, False, 0, "")
        for index in range(max(0, pdfium.FPDFText_CountChars(text_page))):
            code = unicode_of(text_page, index)
            if code in (10, 13):
                if code == 10:
                    found.glyphs.append(Glyph("\n", 0, 0, 0, 0, style, True))
                continue
            generated = code == 32 and is_generated(text_page, index) == 1
            if not generated:
                style = self._style(index)
                if style.hidden:
                    if code > 32:
                        found.hidden.add(style.hidden)
                    continue
            if not box_of(text_page, index, into):
                continue
            left, top, right, bottom = rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
            x0, y0, x1, y1 = (
                a * left + c * bottom + e,
                b * left + d * bottom + f,
                a * right + c * top + e,
                b * right + d * top + f,
            )
            if x0 > x1:
                x0, x1 = x1, x0
            if y0 > y1:
                y0, y1 = y1, y0
            text = _character(code)
            if code > 32 and (x1 < 0 or y1 < 0 or x0 > found.width or y0 > found.height):
                found.hidden.add("off the page")
                continue
            if text == "\ufffd":
                found.unmapped += 1
            found.glyphs.append(Glyph(text, x0, y0, x1, y1, style, generated))

    def _style(self, index: int) -> Style:
        """Style of a character; characters of one text object share it, so it is asked for once per object."""
        import pypdfium2.raw as pdfium

        text_object = pdfium.FPDFText_GetTextObject(self._text_page, index)
        key = ctypes.addressof(text_object.contents) if text_object else None
        if self._last is not None and key is not None and self._last[0] == key:
            return self._last[1]
        matrix = pdfium.FS_MATRIX()
        scale = 1.0
        if pdfium.FPDFText_GetMatrix(self._text_page, index, ctypes.byref(matrix)):
            scale = math.hypot(matrix.c, matrix.d) or 1.0
        size = pdfium.FPDFText_GetFontSize(self._text_page, index) * scale
        name = self._font_name(index)
        weight = pdfium.FPDFText_GetFontWeight(self._text_page, index)
        bold = weight >= 600 or any(word in name for word in ("bold", "black", "heavy", "-bd", "demi"))
        mono = any(word in name for word in ("mono", "courier", "consol", "typewriter", "cmtt", "menlo", "code"))
        turned = math.degrees(math.atan2(self._transform[1], self._transform[0]))
        raw = pdfium.FPDFText_GetCharAngle(self._text_page, index)
        angle = round((turned - math.degrees(raw)) / 90.0) * 90 % 360 if raw >= 0 else 0
        style = Style(round(size, 1), bold, mono, angle, self._why_hidden(text_object, index, size))
        self._last = (key, style)
        return style

    def _font_name(self, index: int) -> str:
        import pypdfium2.raw as pdfium

        buffer = ctypes.create_string_buffer(128)
        flags = ctypes.c_int()
        length = pdfium.FPDFText_GetFontInfo(self._text_page, index, buffer, 128, ctypes.byref(flags))
        return buffer.value.decode("utf-8", "replace").lower() if 0 < length <= 128 else ""

    def _why_hidden(self, text_object: Any, index: int, size: float) -> str:
        import pypdfium2.raw as pdfium

        if size < 1.0:
            return "too small to be read"
        if not text_object:
            return ""
        if pdfium.FPDFTextObj_GetTextRenderMode(text_object) in _INVISIBLE_MODES:
            # a scan that was read by OCR carries its text invisibly over the picture
            return "" if self._behind().picture_cover >= _OCR_COVER else "invisible"
        colour = [ctypes.c_uint() for _ in range(4)]
        if not pdfium.FPDFPageObj_GetFillColor(text_object, *(ctypes.byref(one) for one in colour)):
            return ""
        red, green, blue, alpha = (one.value for one in colour)
        if alpha == 0:
            return "invisible"
        if min(red, green, blue) >= _WHITE:
            box = [ctypes.c_double() for _ in range(4)]
            pdfium.FPDFText_GetCharBox(self._text_page, index, *(ctypes.byref(one) for one in box))
            left, right, bottom, top = (one.value for one in box)
            return "" if self._behind().covers((left + right) / 2, (bottom + top) / 2) else "white on white"
        return ""

    def _behind(self) -> _Backdrop:
        if self._backdrop is None:
            self._backdrop = _Backdrop(self._page)
        return self._backdrop


class _Backdrop:
    """What is painted on the page besides text: places where white text can be read. In the page's own coordinates."""

    def __init__(self, page: Any) -> None:
        import pypdfium2.raw as pdfium

        self._painted: list[tuple[float, float, float, float]] = []
        left, bottom, right, top = page.get_bbox()
        area = max(1.0, abs((right - left) * (top - bottom)))
        pictures = 0.0
        for index in range(min(5000, pdfium.FPDFPage_CountObjects(page.raw))):
            one = pdfium.FPDFPage_GetObject(page.raw, index)
            kind = pdfium.FPDFPageObj_GetType(one)
            if kind == pdfium.FPDF_PAGEOBJ_TEXT or (kind == pdfium.FPDF_PAGEOBJ_PATH and not _is_coloured(one)):
                continue
            box = _bounds(one)
            if box:
                self._painted.append(box)
                if kind in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_FORM):
                    pictures += max(0.0, min(box[2], right) - max(box[0], left)) * max(
                        0.0, min(box[3], top) - max(box[1], bottom)
                    )
        self.picture_cover = pictures / area

    def covers(self, x: float, y: float) -> bool:
        return any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in self._painted)


def _is_coloured(path: Any) -> bool:
    """True for a path that is filled (or stroked broadly) with something other than white."""
    import pypdfium2.raw as pdfium

    mode, stroke = ctypes.c_int(), ctypes.c_int()
    if pdfium.FPDFPath_GetDrawMode(path, ctypes.byref(mode), ctypes.byref(stroke)) and mode.value == 0 and not stroke.value:
        return False
    colour = [ctypes.c_uint() for _ in range(4)]
    read = pdfium.FPDFPageObj_GetFillColor if mode.value else pdfium.FPDFPageObj_GetStrokeColor
    if not read(path, *(ctypes.byref(one) for one in colour)):
        return True
    return min(one.value for one in colour[:3]) < _WHITE and colour[3].value > 0


def _bounds(one: Any) -> tuple[float, float, float, float] | None:
    import pypdfium2.raw as pdfium

    box = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(one, *(ctypes.byref(side) for side in box)):
        return None
    return box[0].value, box[1].value, box[2].value, box[3].value


def _displayed(page: Any) -> tuple[float, float, float, float, float, float]:
    """Affine map (a, b, c, d, e, f) from the page's coordinates to those of the displayed page: x' = a x + c y + e."""
    left, bottom, right, top = page.get_bbox()
    rotation = page.get_rotation() % 360
    if rotation == 90:
        return 0.0, 1.0, 1.0, 0.0, -bottom, -left
    if rotation == 180:
        return -1.0, 0.0, 0.0, 1.0, right, -bottom
    if rotation == 270:
        return 0.0, -1.0, -1.0, 0.0, top, right
    return 1.0, 0.0, 0.0, -1.0, -left, top


def _character(code: int) -> str:
    if code in _HYPHENS:
        return "-"
    if code in (0xA0, 0x2007, 0x202F) or code < 32:
        return " "
    if code == 0xAD:
        return "-"
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF or code == 0:
        return "\ufffd"
    return _BULLETS.get(code, chr(code))
