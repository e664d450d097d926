"""Pictures to text with Tesseract, where it is installed: one run of the program a page, its TSV gives every word's box."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ckllm.errors import DataError
from ingestion.parse.pdf_glyphs import Glyph, PageGlyphs, Style

HOW_TO_INSTALL = "install tesseract-ocr to read pictures"
_DPI = 250
_MAX_PIXELS = 40_000_000
_TIMEOUT_S = 90
_MIN_CONFIDENCE = 30.0
_MAX_LANGUAGES = 4
_MIN_PICTURE = 0.02


@functools.cache
def available() -> bool:
    """True where the `tesseract` program is on the path."""
    return shutil.which("tesseract") is not None


@functools.cache
def _languages() -> str:
    """The installed languages, English first; a few, because each costs time."""
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S607
    found = sorted(
        (line.strip() for line in listed.stdout.splitlines()[1:] if line.strip() not in ("", "osd", "equ")),
        key=lambda x: x != "eng",
    )
    return "+".join(found[:_MAX_LANGUAGES]) or "eng"


def has_pictures(page: Any) -> bool:
    """True where pictures (or forms that may hold some) take up at least a fiftieth of a PDF page."""
    import pypdfium2.raw as pdfium

    width, height = page.get_size()
    area = 0.0
    for one in page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_IMAGE,), max_depth=3):
        left, bottom, right, top = one.get_bounds()
        area += max(0.0, right - left) * max(0.0, top - bottom)
    return bool(area >= _MIN_PICTURE * width * height)


def read_page(page: Any, number: int) -> PageGlyphs:
    """Render a PDF page and recognise its text; boxes are in the page's points."""
    width, height = page.get_size()
    scale = min(_DPI / 72.0, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    found = PageGlyphs(number, width, height)
    with tempfile.TemporaryDirectory(prefix="ckllm-ocr-") as folder:
        picture = Path(folder) / "page.pgm"
        rows = bitmap.to_numpy()
        picture.write_bytes(
            b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + rows.reshape(rows.shape[0], -1)[:, : bitmap.width].tobytes()
        )
        found.glyphs = _recognised(picture, 1.0 / scale)
    return found


def read_image(path: Path, number: int = 1) -> PageGlyphs:
    """Recognise the text of an image file; boxes are in pixels taken as points."""
    found = PageGlyphs(number, 0.0, 0.0)
    found.glyphs = _recognised(path, 1.0)
    return found


def _recognised(picture: Path, scale: float) -> list[Glyph]:
    command = ["tesseract", str(picture), "stdout", "-l", _languages(), "--psm", "3", "tsv"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"OCR took more than {_TIMEOUT_S} s for one page and was stopped") from error
    if done.returncode:
        raise DataError(f"OCR failed: {' '.join(done.stderr.decode('utf-8', 'replace').split())[:200]}")
    glyphs: list[Glyph] = []
    place: tuple[str, ...] = ()
    for row in done.stdout.decode("utf-8", "replace").splitlines()[1:]:
        cells = row.split("\t")
        if len(cells) < 12 or cells[0] != "5" or float(cells[10]) < _MIN_CONFIDENCE or not cells[11].strip():
            continue
        left, top, width, height = (int(cell) * scale for cell in cells[6:10])
        style = Style(round(max(height, 1.0) * 0.75), False, False, 0, "")
        if glyphs:
            same_line = tuple(cells[1:5]) == place
            glyphs.append(Glyph(" " if same_line else "\n", 0, 0, 0, 0, style, True))
        place = tuple(cells[1:5])
        word = cells[11].strip()
        for index, character in enumerate(word):
            start = left + width * index / len(word)
            glyphs.append(Glyph(character, start, top, left + width * (index + 1) / len(word), top + height, style, False))
    return glyphs
