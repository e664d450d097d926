"""Office documents, e-books and mail, made by the libraries that others use to write them."""

from __future__ import annotations

import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from ckllm.contracts import ElementKind
from ckllm.errors import DataError
from tests.ingestion import hostile_files
from tests.ingestion.parse.reading import read, texts, write

W = hostile_files.WORD_NAMES
WHITE, TINY, BLUE_GROUND = '<w:color w:val="FFFFFF"/>', '<w:sz w:val="1"/>', '<w:shd w:fill="000080"/>'


def docx(tmp_path: Path, body: str) -> Path:
    return hostile_files.docx_of(tmp_path / "made.docx", f"<w:document {W}><w:body>{body}</w:body></w:document>")


def run(text: str, properties: str = "") -> str:
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t xml:space='preserve'>{text}</w:t></w:r>"


def test_docx_headings_lists_tables_headers(tmp_path: Path) -> None:
    import docx as word

    made = word.Document()
    made.core_properties.title = "Tide report"
    made.add_heading("Tides", 1)
    made.add_paragraph("High water comes twice a day.")
    made.add_heading("Ports", 2)
    made.add_paragraph("Brest", style="List Number")
    made.add_paragraph("Dover", style="List Number")
    table = made.add_table(3, 2)
    for place, text in enumerate(("Port", "Metres", "Brest", "6.1", "", "5.9")):
        table.cell(place // 2, place % 2).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    made.sections[0].header.paragraphs[0].text = "Harbour office"
    made.save(str(tmp_path / "tides.docx"))
    document = read(tmp_path / "tides.docx")
    assert document.title == "Tide report"
    headings = [(document.text[one.start : one.end], one.level) for one in document.elements if one.kind is ElementKind.HEADING]
    assert headings == [("Tides", 1), ("Ports", 2)]
    assert texts(document, ElementKind.LIST_ITEM) == ["1. Brest", "2. Dover"]
    assert texts(document, ElementKind.TABLE) == ["Port | Metres\nBrest | 6.1\nBrest | 5.9"]
    assert texts(document, ElementKind.NOTE) == ["Harbour office"]


def test_docx_hidden_and_deleted_text(tmp_path: Path) -> None:
    body = (
        f"<w:p>{run('seen ')}{run('vanished', '<w:vanish/>')}{run('white', WHITE)}{run('tiny', TINY)}"
        f"<w:ins>{run('inserted ')}</w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>{run('end')}</w:p>"
    )
    document = read(docx(tmp_path, body))
    assert document.text == "seen inserted end"
    assert any("hidden text" in warning for warning in document.warnings)
    assert any("tracked deletions" in warning for warning in document.warnings)


def test_docx_white_text_on_shading_is_read(tmp_path: Path) -> None:
    document = read(docx(tmp_path, f"<w:p>{run('banner', WHITE + BLUE_GROUND)}</w:p>"))
    assert document.text == "banner"


def test_docx_content_controls_text_boxes_fields_and_formulas(tmp_path: Path) -> None:
    body = (
        f"<w:sdt><w:sdtContent><w:p>{run('in a control')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p>{run('before ')}<w:r><w:pict><w:txbxContent><w:p>{run('boxed words')}</w:p>"
        f"</w:txbxContent></w:pict></w:r>{run('after')}</w:p>"
        "<w:p><w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText>PAGEREF x</w:instrText></w:r>"
        f"<w:r><w:fldChar w:fldCharType='separate'/></w:r>{run('12')}<w:r><w:fldChar w:fldCharType='end'/></w:r></w:p>"
        '<w:p><m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math">'
        "<m:f><m:num><m:r><m:t>a</m:t></m:r></m:num>"
        "<m:den><m:r><m:t>b</m:t></m:r></m:den></m:f><m:sSup><m:e><m:r>"
        "<m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>"
        "</m:oMath></w:p>"
    )
    assert read(docx(tmp_path, body)).text.split("\n\n") == [
        "in a control",
        "before after",
        "boxed words",
        "12",
        "\\frac{a}{b}x^{2}",
    ]


def test_docx_notes_and_comments(tmp_path: Path) -> None:
    path = docx(tmp_path, f"<w:p>{run('claim')}<w:r><w:footnoteReference w:id='2'/></w:r></w:p><w:p>{run('next')}</w:p>")
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    rels = "".join(
        f'<Relationship Id="r{name}" Type="{kinds}/{name}" Target="{name}.xml"/>' for name in ("footnotes", "comments")
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rels}</Relationships>',
        )
        archive.writestr(
            "word/footnotes.xml",
            f"<w:footnotes {W}><w:footnote w:id='2'><w:p>{run('its source')}</w:p></w:footnote></w:footnotes>",
        )
        archive.writestr(
            "word/comments.xml", f"<w:comments {W}><w:comment w:author='Ada'><w:p>{run('why?')}</w:p></w:comment></w:comments>"
        )
    assert read(path).text.split("\n\n") == ["claim", "its source", "next", "Comment by Ada: why?"]


def test_pptx_slides_groups_tables_charts_notes(tmp_path: Path) -> None:
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    made = pptx.Presentation()
    first = made.slides.add_slide(made.slide_layouts[1])
    first.shapes.title.text = "Tides"
    first.placeholders[1].text = "High water\nLow water"
    group = first.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "inside a group"
    first.notes_slide.notes_text_frame.text = "say it slowly"
    second = made.slides.add_slide(made.slide_layouts[6])
    table = second.shapes.add_table(2, 2, 0, 0, Inches(4), Inches(1)).table
    for place, text in enumerate(("Port", "Metres", "Brest", "6.1")):
        table.cell(place // 2, place % 2).text = text
    data = CategoryChartData()
    data.categories = ["Brest", "Dover"]
    data.add_series("Height", (6.1, 5.2))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, Inches(2), Inches(4), Inches(3), data)
    made.save(str(tmp_path / "tides.pptx"))
    document = read(tmp_path / "tides.pptx")
    assert [page.page for page in document.pages] == [1, 2]
    assert document.pages[0].width == pytest.approx(720)
    assert texts(document, ElementKind.HEADING) == ["Tides"]
    assert texts(document, ElementKind.LIST_ITEM) == ["High water", "Low water"]
    assert "inside a group" in document.text
    assert texts(document, ElementKind.NOTE) == ["say it slowly"]
    assert texts(document, ElementKind.TABLE) == ["Port | Metres\nBrest | 6.1"]
    assert "Dover | 5.2" in document.text
    assert {one.page for one in document.elements if "Dover" in document.text[one.start : one.end]} == {2}


def test_xlsx_sheets_merged_cells_comments_formulas(tmp_path: Path) -> None:
    import openpyxl
    from openpyxl.comments import Comment

    made = openpyxl.Workbook()
    sheet: Any = made.active
    sheet.title = "Heights"
    for row in (["Heights of tides"], [], ["Port", "Metres", "Open"], ["Brest", 6.0, True], [None, 5.9, False]):
        sheet.append(row)
    sheet.merge_cells("A4:A5")
    sheet["B4"].comment = Comment("measured at noon", "Ada")
    other = made.create_sheet("Totals")
    other.append(["sum", "=1+1"])
    hidden = made.create_sheet("Secrets")
    hidden.append(["hidden words"])
    hidden.sheet_state = "hidden"
    made.save(tmp_path / "tides.xlsx")
    document = read(tmp_path / "tides.xlsx")
    assert texts(document, ElementKind.HEADING) == ["Heights", "Totals"]
    assert texts(document, ElementKind.TABLE)[0] == "Port | Metres | Open\nBrest | 6 | TRUE\nBrest | 5.9 | FALSE"
    assert texts(document, ElementKind.NOTE) == ["Comment by Ada on B4: measured at noon"]
    assert "hidden words" not in document.text
    assert any("formulas without saved results" in warning for warning in document.warnings)
    assert any("hidden sheets" in warning for warning in document.warnings)


def test_epub_and_opendocument(tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="o/c.opf"/></rootfiles></container>',
        )
        archive.writestr(
            "o/c.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            "<metadata><dc:title>Sea book</dc:title></metadata>"
            '<manifest><item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="a%20x.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        )
        archive.writestr("o/a x.xhtml", "<html><body><h1>One</h1><p>First chapter.</p></body></html>")
        archive.writestr("o/b.xhtml", "<html><body><h1>Two</h1><p>Second chapter.</p></body></html>")
    document = read(path)
    assert document.title == "Sea book"
    assert document.text.split("\n\n") == ["One", "First chapter.", "Two", "Second chapter."]

    names = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (("office", "office"), ("text", "text"), ("table", "table"))
    )
    body = (
        '<text:h text:outline-level="2">Ports</text:h><text:p>Brest<text:s '
        'text:c="2"/>is<text:line-break/>deep<text:note><text:note-body>'
        "<text:p>a note</text:p></text:note-body></text:note></text:p><text:list>"
        "<text:list-item><text:p>item</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p>"
        "</table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell>"
        "</table:table-row></table:table>"
    )
    path = tmp_path / "ports.odt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        content = (
            f"<office:document-content {names}><office:body>"
            f"<office:text>{body}</office:text></office:body></office:document-content>"
        )
        archive.writestr("content.xml", content)
    assert read(path).text.split("\n\n") == ["Ports", "Brest  is\ndeep", "a note", "item", "a | b"]


def test_rtf_and_restructured_text_need_no_model(tmp_path: Path) -> None:
    rtf = read(write(tmp_path, "a.rtf", r"{\rtf1\ansi {\b Tides}\par High water comes twice a day, \u8211?  always.\par}"))
    assert "High water comes twice a day, – always." in rtf.text
    rst = read(
        write(
            tmp_path,
            "a.rst",
            "Tides\n=====\n\nHigh water.\n\n- one\n- two\n\n=====  ======\n"
            "Port   Metres\n=====  ======\nBrest  6.1\n=====  ======\n",
        )
    )
    assert texts(rst, ElementKind.HEADING) == ["Tides"]
    assert texts(rst, ElementKind.LIST_ITEM) == ["one", "two"]
    assert texts(rst, ElementKind.TABLE) == ["Port | Metres\nBrest | 6.1"]


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Grüße aus Brest", "Ada <ada@example.org>", "bob@example.org"
    message["Date"] = "Mon, 06 May 2024 10:00:00 +0000"
    message.set_content("The tide tables are attached.\n\nÀ bientôt", cte="base64")
    message.add_alternative("<p>The tide tables are attached.</p><p>À bientôt</p>", subtype="html", cte="quoted-printable")
    return message


def test_mail_headers_body_once_and_attachments(tmp_path: Path) -> None:
    message = mail()
    message.add_attachment(b"port,metres\nBrest,6.1\n", maintype="text", subtype="csv", filename="../up/tides.csv")
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "inner mail", "c@example.org"
    inner.set_content("inner words")
    message.add_attachment(inner)
    path = write(tmp_path, "letter.eml", message.as_bytes())
    document = read(path)
    assert document.title == "Grüße aus Brest"
    assert document.text.count("The tide tables are attached.") == 1
    assert "From: Ada <ada@example.org>" in document.text
    table, letter = document.attachments
    assert table.uri == f"{path}!/up/tides.csv"
    assert table.path.parent.parent == tmp_path / "attachments"
    assert read(table.path).text.startswith("port")
    assert "inner words" in read(letter.path).text


def test_mail_of_html_alone_and_encrypted_mail(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Page", "a@example.org"
    message.set_content("<html><body><p>Only a page.</p><p style='display:none'>preheader</p></body></html>", subtype="html")
    document = read(write(tmp_path, "page.eml", message.as_bytes()))
    assert "Only a page." in document.text and "preheader" not in document.text
    sealed = (
        b"From: a@b.c\nSubject: x\nMIME-Version: 1.0\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMIIB\n"
    )
    with pytest.raises(DataError, match=r"no text: .* private key"):
        read(write(tmp_path, "sealed.eml", sealed))


def test_images_without_ocr_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingestion.parse import ocr

    monkeypatch.setattr(ocr, "available", lambda: False)
    with pytest.raises(DataError, match=r"no text: .*install tesseract-ocr"):
        read(write(tmp_path, "scan.png", b"\x89PNG\r\n\x1a\n" + b"0" * 100))


def test_strict_office_documents_have_other_names_for_the_same(tmp_path: Path) -> None:
    strict = 'xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main"'
    body = f"<w:document {strict}><w:body><w:p><w:r><w:t>strict words</w:t></w:r></w:p></w:body></w:document>"
    assert read(hostile_files.docx_of(tmp_path / "strict.docx", body)).text == "strict words"
