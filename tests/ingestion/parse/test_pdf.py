"""PDF: reading order, boxes where the words were drawn, what is left out. The pages are drawn with reportlab."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reportlab.lib import pdfencrypt
from reportlab.pdfgen.canvas import Canvas

from ckllm.contracts import Document, ElementKind
from ckllm.errors import DataError
from ingestion.parse import ocr
from tests.ingestion import hostile_files
from tests.ingestion.parse.reading import read, texts

WIDTH, HEIGHT = 612.0, 792.0
LEFT = [
    "Alpha begins the column on the",
    "left side of the page and goes",
    "on for several lines of prose",
    "until the column ends at omega.",
]
RIGHT = [
    "Second column has its own text",
    "which must not be mixed into the",
    "first one although both share",
    "the same height on the page.",
]


def draw(path: Path, paint: Callable[[Any], None], **options: Any) -> Path:
    canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT), pageCompression=1, **options)
    paint(canvas)
    canvas.save()
    return path


def box_of(document: Document, quote: str) -> tuple[float, float, float, float]:
    assert document.boxes is not None
    start = document.text.index(quote)
    values = [document.boxes[4 * (start + place) : 4 * (start + place) + 4] for place in range(len(quote))]
    seen = [value for value in values if not math.isnan(value[0])]
    return min(v[0] for v in seen), min(v[1] for v in seen), max(v[2] for v in seen), max(v[3] for v in seen)


def test_the_box_of_a_word_is_where_it_was_drawn(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.setFont("Helvetica", 12)
        canvas.drawString(100, 700, "before lighthouse after")

    document = read(draw(tmp_path / "a.pdf", paint))
    x0, y0, x1, y1 = box_of(document, "lighthouse")
    measure = Canvas(str(tmp_path / "m.pdf")).stringWidth
    assert x0 == pytest.approx(100 + measure("before ", "Helvetica", 12), abs=1)
    assert x1 == pytest.approx(100 + measure("before lighthouse", "Helvetica", 12), abs=1)
    assert y0 < HEIGHT - 700 - 6 < HEIGHT - 700 < y1 + 1
    assert y1 - y0 < 18
    assert (document.pages[0].width, document.pages[0].height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_boxes_are_those_of_the_displayed_page(tmp_path: Path, rotation: int) -> None:
    def paint(canvas: Any) -> None:
        canvas.setPageRotation(rotation)
        canvas.drawString(100, 500, "rotated harbour words")

    document = read(draw(tmp_path / "a.pdf", paint))
    assert document.text == "rotated harbour words"
    x0, y0, x1, y1 = box_of(document, "rotated harbour words")
    length = Canvas(str(tmp_path / "m.pdf")).stringWidth("rotated harbour words", "Helvetica", 12)
    along, across = 100 + length / 2, 504
    # reportlab swaps the sides of the page when it is turned by a right angle
    wanted = {90: (across, along), 180: (WIDTH - along, across), 270: (WIDTH - across, HEIGHT - along)}[rotation]
    assert (x0 + x1) / 2 == pytest.approx(wanted[0], abs=4)
    assert (y0 + y1) / 2 == pytest.approx(wanted[1], abs=4)
    assert (document.pages[0].width, document.pages[0].height) == (WIDTH, HEIGHT)


def test_two_columns_drawn_line_by_line_across_the_page(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 740, "A title across both of the columns of this page")
        canvas.setFont("Helvetica", 10)
        for place, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
            canvas.drawString(72, 700 - 12 * place, left)
            canvas.drawString(320, 700 - 12 * place, right)

    document = read(draw(tmp_path / "a.pdf", paint))
    text = " ".join(document.text.split())
    assert " ".join(LEFT) in text
    assert " ".join(RIGHT) in text
    assert text.index("title") < text.index("Alpha") < text.index("omega") < text.index("Second column")
    assert texts(document, ElementKind.HEADING) == ["A title across both of the columns of this page"]


def test_tables_are_rows(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        for place, row in enumerate((("Port", "Metres", "Open"), ("Brest", "6.1", "yes"), ("Dover", "5.2", "no"))):
            for column, cell in enumerate(row):
                canvas.drawString(72 + 150 * column, 700 - 16 * place, cell)

    document = read(draw(tmp_path / "a.pdf", paint))
    assert document.text == "Port | Metres | Open\nBrest | 6.1 | yes\nDover | 5.2 | no"
    assert document.elements[0].header == "Port | Metres | Open"


def test_hyphens_at_line_ends_stay(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "This paragraph ends its line with an inter-")
        canvas.drawString(72, 686, "national word that is cut in two.")

    assert "inter-\nnational" in read(draw(tmp_path / "a.pdf", paint)).text


def test_repeated_headers_and_page_numbers_are_dropped(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        for number in range(1, 6):
            canvas.drawString(72, 770, "Annual report of the harbour")
            canvas.drawString(72, 500, f"Body text of chapter {'ABCDE'[number - 1]} stands here.")
            canvas.drawString(300, 20, f"Page {number} of 5")
            canvas.showPage()

    document = read(draw(tmp_path / "a.pdf", paint))
    assert document.text.count("Annual report") == 1
    assert "Page" not in document.text
    assert document.text.count("Body text") == 5
    assert [page.page for page in document.pages] == [1, 2, 3, 4, 5]
    assert any("headers" in warning for warning in document.warnings)


def test_rows_that_differ_in_digits_alone_are_no_furniture(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        for page in range(4):
            for row in range(42):
                canvas.drawString(72, 780 - 18 * row, f"Station {42 * page + row}")
                canvas.drawString(300, 780 - 18 * row, str((page * 42 + row) * 7 % 31))
            canvas.showPage()

    text = read(draw(tmp_path / "a.pdf", paint)).text
    assert all(f"Station {number} |" in text for number in range(168))


def test_a_line_whose_number_does_not_count_the_pages_stays(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        for number in (7, 3, 30, 11):
            canvas.drawString(72, 770, f"Balance carried over {number}")
            canvas.drawString(72, 500, "The bookkeeper signs every sheet.")
            canvas.showPage()

    text = read(draw(tmp_path / "a.pdf", paint)).text
    assert all(f"carried over {number}" in text for number in (7, 3, 30, 11))


def test_what_readers_noted_stands_on_its_page(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "The first sheet.")
        canvas.freeTextAnnotation("The first sheet.", (72, 500, 300, 550))
        canvas.showPage()
        canvas.drawString(72, 700, "The second sheet.")
        canvas.textAnnotation("is that so?", (72, 500, 90, 520))
        canvas.showPage()

    document = read(draw(tmp_path / "a.pdf", paint))
    assert texts(document, ElementKind.NOTE) == ["Comment by unknown: is that so?"]
    assert [one.page for one in document.elements if one.kind is ElementKind.NOTE] == [2]


def test_a_file_whose_end_is_lost(tmp_path: Path) -> None:
    data = draw(tmp_path / "a.pdf", lambda canvas: canvas.drawString(72, 700, "still to be read")).read_bytes()
    (tmp_path / "cut.pdf").write_bytes(data[: data.rindex(b"xref\n0")])
    assert read(tmp_path / "cut.pdf").text == "still to be read"


def test_hidden_text_is_left_out_and_flagged(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "visible words")
        canvas.setFillColorRGB(1, 1, 1)
        canvas.drawString(72, 600, "white instruction")
        canvas.setFillColorRGB(0, 0, 0)
        invisible = canvas.beginText(72, 500)
        invisible.setTextRenderMode(3)
        invisible.textOut("invisible instruction")
        canvas.saveState()
        canvas.drawText(invisible)
        canvas.restoreState()
        canvas.drawString(2000, 700, "off the page")
        canvas.setFont("Helvetica", 0.5)
        canvas.drawString(72, 400, "tiny instruction")
        canvas.setFont("Helvetica", 12)
        canvas.setFillColorRGB(0, 0, 0.5)
        canvas.rect(60, 290, 300, 40, fill=1)
        canvas.setFillColorRGB(1, 1, 1)
        canvas.drawString(72, 300, "white on blue")

    document = read(draw(tmp_path / "a.pdf", paint))
    assert document.text.split("\n\n") == ["visible words", "white on blue"]
    assert {warning.split("(")[1].split(")")[0] for warning in document.warnings} == {
        "white on white",
        "invisible",
        "off the page",
        "too small to be read",
    }


def test_passwords(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "sealed words")

    closed = draw(tmp_path / "user.pdf", paint, encrypt=pdfencrypt.StandardEncryption("user", "owner"))
    with pytest.raises(DataError, match="password"):
        read(closed)
    opened = draw(tmp_path / "owner.pdf", paint, encrypt=pdfencrypt.StandardEncryption("", "owner"))
    assert read(opened).text == "sealed words"


def test_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "cut.pdf"
    path.write_bytes(b"%PDF-1.7\nnothing else")
    with pytest.raises(DataError, match="broken PDF"):
        read(path)
    with pytest.raises(DataError, match="password"):
        read(draw(tmp_path / "closed.pdf", lambda _: None, encrypt=pdfencrypt.StandardEncryption("user", "owner")))
    path.write_bytes(
        b"%PDF-1.3\n1 0 obj\n<< /Type /Pages /Count 0 /Kids [] >>\nendobj\n2 0 obj\n<< /Type /Catalog /Pages 1 0 R >>\nendobj\n"
        b"xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n0000000061 00000 n \n"
        b"trailer\n<< /Size 3 /Root 2 0 R >>\nstartxref\n110\n%%EOF\n"
    )
    with pytest.raises(DataError, match="broken PDF"):  # and not for the reason of the file before
        read(path)
    lost = hostile_files.pdf_of(tmp_path / "noxref.pdf", b"BT /F1 12 Tf 72 700 Td (words without a table) Tj ET")
    assert read(lost).text == "words without a table"


def test_form_fields_are_read(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "Name:")
        canvas.acroForm.textfield(name="name", value="Ada Lovelace", x=120, y=695, width=200, height=20)

    assert "Ada Lovelace" in read(draw(tmp_path / "a.pdf", paint)).text


def scanned(tmp_path: Path) -> Path:
    """A page that is a picture of the words HARBOUR OFFICE."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("L", (1000, 300), 255)
    ImageDraw.Draw(picture).text((60, 100), "HARBOUR OFFICE", fill=0, font=ImageFont.load_default(80))
    picture.save(tmp_path / "scan.png")
    return draw(tmp_path / "scan.pdf", lambda canvas: canvas.drawImage(str(tmp_path / "scan.png"), 50, 500, 500, 150))


def test_a_scan_without_ocr_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "available", lambda: False)
    with pytest.raises(DataError, match=r"no text: .*install tesseract-ocr"):
        read(scanned(tmp_path))


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract-ocr is not installed")
def test_a_scan_is_read_by_ocr_with_boxes(tmp_path: Path) -> None:
    document = read(scanned(tmp_path))
    assert "HARBOUR" in document.text
    x0, y0, x1, y1 = box_of(document, "HARBOUR")
    assert 50 < x0 < x1 < 550
    assert HEIGHT - 650 < y0 < y1 < HEIGHT - 500
    assert any("OCR" in warning for warning in document.warnings)
