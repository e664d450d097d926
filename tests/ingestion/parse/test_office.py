"""Office documents, e-books and mail, made by the libraries that others use to write them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
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


def test_docx_hidden_paragraphs_and_rows_of_tables(tmp_path: Path) -> None:
    def cell(text: str, style: str = "") -> str:
        return f"<w:tc><w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr>{run(text)}</w:p></w:tc>"

    rows = (
        f"<w:tr>{cell('Port')}{cell('Metres')}</w:tr><w:tr>{cell('Brest')}{cell('unseen 9', 'Unseen')}</w:tr>"
        f"<w:tr><w:trPr><w:hidden/></w:trPr>{cell('unseen')}{cell('7')}</w:tr><w:tr>{cell('Dover')}{cell('5')}</w:tr>"
    )
    path = docx(tmp_path, f"<w:tbl>{rows}</w:tbl>")
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"
    names = "http://schemas.openxmlformats.org/package/2006/relationships"
    rels = f'<Relationships xmlns="{names}"><Relationship Id="r1" Type="{kind}" Target="styles.xml"/></Relationships>'
    style = "<w:style w:styleId='Unseen'><w:name w:val='Unseen'/><w:rPr><w:vanish/></w:rPr></w:style>"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("word/_rels/document.xml.rels", rels)
        archive.writestr("word/styles.xml", f"<w:styles {W}>{style}</w:styles>")
    document = read(path)
    assert document.text == "Port | Metres\nBrest\nDover | 5"
    assert any("hidden text" in warning for warning in document.warnings)


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


def zipped(path: Path, parts: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def test_epub_and_opendocument(tmp_path: Path) -> None:
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": (
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="o/c.opf"/></rootfiles></container>'
        ),
        "o/c.opf": (
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            "<metadata><dc:title>Sea book</dc:title></metadata>"
            '<manifest><item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="a%20x.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
        ),
        "o/a x.xhtml": "<html><body><h1>One</h1><p>First chapter.</p></body></html>",
        "o/b.xhtml": "<html><body><h1>Two</h1><p>Second chapter.</p></body></html>",
    }
    document = read(zipped(tmp_path / "book.epub", parts))
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
    content = (
        f"<office:document-content {names}><office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    path = zipped(tmp_path / "ports.odt", {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})
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


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0 A;}}\f0 \'cf\'ee\'f0\'f2 \'f1\'ef\'e8\'f2\par}", "Порт спит"),
        (
            r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset238 B;}}\f0 f\'fcr {\f1 \'a3\'f3d\'9f} f\'fcr\par}",
            "für Łódź für",
        ),
        (r"{\rtf1\ansi\ansicpg932{\fonttbl{\f0\fcharset128 A;}}\f0 \'83A\'83\'5c and more\par}", "アソ and more"),
        (r"{\rtf1\ansi\uc1 5 \u8364?, then {\uc0\u960 }r and {\uc2 \u28207\'8d\'60}s\par}", "5 €, then πr and 港s"),
        (r"{\rtf1\ansi The dog \u-10179?\u-9162? sails\par}", "The dog 🐶 sails"),
    ],
)
def test_rtf_in_any_code_page_loses_no_character(tmp_path: Path, rtf: str, text: str) -> None:
    assert read(write(tmp_path, "a.rtf", rtf)).text == text


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
    assert "strict words" in read(changed(deck(tmp_path / "deck.pptx"), strict_name)).text
    assert "strict words" in read(changed(workbook(tmp_path / "book.xlsx"), strict_name)).text


def deck(path: Path) -> Path:
    import pptx

    made = pptx.Presentation()
    made.slides.add_slide(made.slide_layouts[5]).shapes.title.text = "strict words"
    made.save(str(path))
    return path


def workbook(path: Path) -> Path:
    import openpyxl

    made = openpyxl.Workbook()
    made.worksheets[0]["A1"] = "strict words"
    made.worksheets[0]["A1"].font = openpyxl.styles.Font(bold=True)
    made.save(path)
    return path


def strict_name(_part: str, data: bytes) -> bytes:
    for usual, strict in (
        (b"schemas.openxmlformats.org/officeDocument/2006/relationships", b"purl.oclc.org/ooxml/officeDocument/relationships"),
        (b"schemas.openxmlformats.org/presentationml/2006/main", b"purl.oclc.org/ooxml/presentationml/main"),
        (b"schemas.openxmlformats.org/spreadsheetml/2006/main", b"purl.oclc.org/ooxml/spreadsheetml/main"),
        (b"schemas.openxmlformats.org/drawingml/2006/", b"purl.oclc.org/ooxml/drawingml/"),
    ):
        data = data.replace(usual, strict)
    return data


def changed(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The package with what `change` makes of each part by its name; those that it makes None of are left out."""
    with zipfile.ZipFile(path) as archive:
        held = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in held.items():
            if data is not None:
                archive.writestr(name, data)
    return path


@pytest.mark.parametrize("kind", [b"slideshow", b"template"])
def test_shows_and_templates_are_presentations(tmp_path: Path, kind: bytes) -> None:
    path = deck(tmp_path / "show.ppsx")
    assert read(changed(path, lambda _, data: data.replace(b"presentation.main+xml", kind + b".main+xml"))).text == "strict words"


def test_pptx_shapes_in_two_forms_unknown_kinds_and_missing_layouts(tmp_path: Path) -> None:
    names = (
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )

    def shape(words: str) -> str:
        return (
            '<p:sp><p:nvSpPr><p:cNvPr id="77" name="x"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>'
            f"<a:p><a:r><a:t>{words} </a:t></a:r><m:oMath><m:r><m:t>a=b</m:t></m:r></m:oMath></a:p></p:txBody></p:sp>"
        )

    both = (
        f'<mc:AlternateContent {names}><mc:Choice Requires="a14">{shape("newer form")}</mc:Choice>'
        f"<mc:Fallback>{shape('older form')}</mc:Fallback></mc:AlternateContent></p:spTree>"
    )

    def on_slide(old: bytes, new: bytes) -> str:
        change = deck(tmp_path / "a.pptx")
        return read(changed(change, lambda name, data: data.replace(old, new) if "slides/slide1.xml" in name else data)).text

    assert on_slide(b"</p:spTree>", both.encode()).split("\n\n") == ["strict words", "newer form a=b"]
    assert on_slide(b'type="title"', b'type="novel"') == "strict words"
    lacking = changed(deck(tmp_path / "b.pptx"), lambda name, data: None if name.endswith("slideLayout6.xml") else data)
    assert read(lacking).text == "strict words"


def test_pptx_cells_merged_downwards_stand_in_each_row(tmp_path: Path) -> None:
    import pptx
    from pptx.util import Inches

    made = pptx.Presentation()
    table = made.slides.add_slide(made.slide_layouts[6]).shapes.add_table(3, 2, 0, 0, Inches(4), Inches(1)).table
    for place, text in enumerate(("Port", "Metres", "Brest", "6.1", "", "5.9")):
        table.cell(place // 2, place % 2).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    made.save(str(tmp_path / "tides.pptx"))
    assert texts(read(tmp_path / "tides.pptx"), ElementKind.TABLE) == ["Port | Metres\nBrest | 6.1\nBrest | 5.9"]


def test_a_workbook_is_read_whatever_its_name_and_its_styles(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx")
    assert "strict words" in read(path.rename(tmp_path / "attachment")).text
    for styles in (None, b"<styleSheet><fonts></styleSheet>"):

        def change(name: str, data: bytes, styles: bytes | None = styles) -> bytes | None:
            return styles if name == "xl/styles.xml" else data

        document = read(changed(workbook(tmp_path / "book.xlsx"), change))
        assert "strict words" in document.text
        assert any("styles are broken" in warning for warning in document.warnings)


def test_a_cell_at_the_sheets_end_is_read(tmp_path: Path) -> None:
    import openpyxl

    made = openpyxl.Workbook()
    made.worksheets[0]["XFD9"] = "far away"
    made.save(tmp_path / "far.xlsx")
    assert "far away" in read(tmp_path / "far.xlsx").text


def test_labels_and_values_with_an_empty_column_between_are_rows(tmp_path: Path) -> None:
    import openpyxl

    made = openpyxl.Workbook()
    for row in (
        ["Ship", None, "Aurora"],
        ["Port", None, "Brest"],
        [],
        ["Port", "Metres", None, "Ship", "Crew"],
        ["Brest", 6, None, "Elbe", 7],
    ):
        made.worksheets[0].append(row)
    made.save(tmp_path / "form.xlsx")
    assert texts(read(tmp_path / "form.xlsx"), ElementKind.TABLE) == [
        "Ship | Aurora\nPort | Brest",
        "Port | Metres\nBrest | 6",
        "Ship | Crew\nElbe | 7",
    ]


def test_a_value_merged_over_rows_and_columns_stands_in_each_row(tmp_path: Path) -> None:
    import openpyxl

    made = openpyxl.Workbook()
    for row in (["Heights"], [], ["Port", "Low", "High"], ["Brest", "closed", None], ["Dover", None, None], ["Cowes", 1, 4]):
        made.worksheets[0].append(row)
    for area in ("A1:C2", "B4:C5"):
        made.worksheets[0].merge_cells(area)
    made.save(tmp_path / "merged.xlsx")
    document = read(tmp_path / "merged.xlsx")
    assert texts(document, ElementKind.TABLE) == ["Port | Low | High\nBrest | closed\nDover | closed\nCowes | 1 | 4"]
    assert document.text.count("Heights") == 1


def package_of(path: Path, body: str, parts: dict[str, str | bytes], kinds: dict[str, tuple[str, str]]) -> Path:
    """A DOCX with more parts; `kinds` are relationships by id: kind and target."""
    start = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    rels = "".join(f'<Relationship Id="{key}" Type="{start}{kind}" Target="{target}"/>' for key, (kind, target) in kinds.items())
    names = f'{W} xmlns:r="{start[:-1]}"'
    hostile_files.docx_of(path, f"<w:document {names}><w:body>{body}</w:body></w:document>")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rels}</Relationships>',
        )
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_docx_lists_by_style_and_with_levels_of_their_own(tmp_path: Path) -> None:
    def level(shown: str, text: str) -> str:
        return f'<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="{shown}"/><w:lvlText w:val="{text}"/></w:lvl>'

    numbering = (
        f"<w:numbering {W}><w:abstractNum w:abstractNumId='0'><w:numStyleLink w:val='Clauses'/></w:abstractNum>"
        f"<w:abstractNum w:abstractNumId='1'>{level('decimal', 'Clause %1')}</w:abstractNum>"
        "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>"
        f"<w:num w:numId='3'><w:abstractNumId w:val='1'/><w:lvlOverride w:ilvl='0'>{level('upperLetter', '(%1)')}"
        "</w:lvlOverride></w:num></w:numbering>"
    )
    styles = (
        f"<w:styles {W}><w:style w:styleId='Clauses'><w:name w:val='Clauses'/>"
        "<w:pPr><w:numPr><w:numId w:val='2'/></w:numPr></w:pPr></w:style><w:style w:styleId='Aside'>"
        "<w:name w:val='Aside'/><w:rPr><w:vanish/></w:rPr></w:style></w:styles>"
    )

    def item(text: str, number: int) -> str:
        return f"<w:p><w:pPr><w:numPr><w:numId w:val='{number}'/></w:numPr></w:pPr>{run(text)}</w:p>"

    body = f"{item('rope', 1)}{item('tar', 1)}{item('sail', 3)}<w:p><w:pPr><w:pStyle w:val='Aside'/></w:pPr>{run('unseen')}</w:p>"
    parts: dict[str, str | bytes] = {"word/numbering.xml": numbering, "word/styles.xml": styles}
    path = package_of(tmp_path / "l.docx", body, parts, {"n": ("numbering", "numbering.xml"), "s": ("styles", "styles.xml")})
    document = read(path)
    assert texts(document, ElementKind.LIST_ITEM) == ["Clause 1 rope", "Clause 2 tar", "(C) sail"]
    assert "unseen" not in document.text and any("hidden text" in one for one in document.warnings)


def test_docx_inserted_files_and_embedded_documents(tmp_path: Path) -> None:
    inner = hostile_files.docx_of(
        tmp_path / "inner.docx", f"<w:document {W}><w:body><w:p>{run('within')}</w:p></w:body></w:document>"
    )
    parts: dict[str, str | bytes] = {
        "word/page.html": "<p>from a <b>page</b></p>",
        "word/note.txt": "from a note",
        "word/letter.docx": inner.read_bytes(),
        "word/embeddings/Sheet1.docx": inner.read_bytes(),
    }
    chunks = {"a": ("aFChunk", "page.html"), "b": ("aFChunk", "note.txt"), "c": ("aFChunk", "letter.docx")}
    body = f"<w:p>{run('host')}</w:p>" + "".join(f'<w:altChunk r:id="{key}"/>' for key in chunks)
    path = package_of(tmp_path / "host.docx", body, parts, chunks)
    document = read(path)
    assert document.text == "host\n\nfrom a page\n\nfrom a note"
    assert [one.uri for one in document.attachments] == [f"{path}!/letter.docx", f"{path}!/Sheet1.docx"]
    assert {read(one.path).text for one in document.attachments} == {"within"}


def test_docx_symbols_and_words_that_are_drawn(tmp_path: Path) -> None:
    body = (
        "<w:p><w:r><w:sym w:font='Symbol' w:char='F061'/></w:r>"
        + run(" is 30")
        + "<w:r><w:sym w:font='Symbol' w:char='F0B0'/></w:r>"
        "<w:r><w:sym w:font='Wingdings' w:char='F0FC'/></w:r><w:r><w:sym w:font='Webdings' w:char='F041'/></w:r></w:p>"
        "<w:p><w:r><w:pict xmlns:v='urn:schemas-microsoft-com:vml'><v:shape><v:textpath string='Grand opening'/>"
        "</v:shape></w:pict>"
        "</w:r></w:p>"
    )
    assert read(docx(tmp_path, body)).text == "α is 30°✓\n\nGrand opening"


NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name if name != "draw" else "drawing"}:1.0"'
    for name in ("office", "text", "table", "draw", "style")
)


def odf(path: Path, kind: str, body: str, styles: str = "") -> Path:
    parts = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": f"<office:document-content {NAMES}><office:body>{body}</office:body></office:document-content>",
        "styles.xml": f"<office:document-styles {NAMES}>{styles}</office:document-styles>",
    }
    return zipped(path, parts)


def test_opendocument_merged_cells_headers_and_drawings(tmp_path: Path) -> None:
    def cell(text: str, more: str = "") -> str:
        return f"<table:table-cell {more}><text:p>{text}</text:p></table:table-cell>"

    rows = (
        f"<table:table-row>{cell('Knot')}{cell('Use')}</table:table-row>"
        f"<table:table-row>{cell('Bowline', 'table:number-rows-spanned=' + repr('2'))}{cell('loop')}</table:table-row>"
        f"<table:table-row><table:covered-table-cell/>{cell('rescue')}</table:table-row>"
    )
    header = "<style:master-page><style:header><text:p>Rope club</text:p></style:header></style:master-page>"
    document = read(odf(tmp_path / "a.odt", "text", f"<office:text><table:table>{rows}</table:table></office:text>", header))
    assert document.text == "Knot | Use\nBowline | loop\nBowline | rescue\n\nRope club"
    drawing = "<draw:page><draw:custom-shape><text:p>a drawn word</text:p></draw:custom-shape></draw:page>"
    assert read(odf(tmp_path / "a.odg", "graphics", f"<office:drawing>{drawing}</office:drawing>")).text == "a drawn word"


def test_opendocument_sheets_with_values_remarks_and_boxes(tmp_path: Path) -> None:
    body = (
        "<office:spreadsheet><table:table table:name='Stock'>"
        "<table:shapes><draw:custom-shape><text:p>in a box</text:p></draw:custom-shape></table:shapes>"
        "<table:table-row><table:table-cell><text:p>day</text:p></table:table-cell>"
        "<table:table-cell><text:p>rope</text:p><office:annotation><text:p>count again</text:p></office:annotation>"
        "</table:table-cell></table:table-row><table:table-row>"
        "<table:table-cell office:value-type='date' office:date-value='2024-05-06'/>"
        "<table:table-cell office:value-type='float' office:value='8'/></table:table-row></table:table></office:spreadsheet>"
    )
    document = read(odf(tmp_path / "a.ods", "spreadsheet", body))
    assert document.text.split("\n\n") == [
        "Stock",
        "day | rope\n2024-05-06 | 8",
        "in a box",
        "Comment by unknown: count again",
    ]


def test_opendocument_sheets_have_every_row_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(text: str, times: int = 1) -> str:
        inner = f"<text:p>{text}</text:p>" if text else ""
        return f"<table:table-cell table:number-columns-repeated='{times}'>{inner}</table:table-cell>"

    def row(cells: str, times: int = 1) -> str:
        return f"<table:table-row table:number-rows-repeated='{times}'>{cells}</table:table-row>"

    rows = row(cell("Net") + cell("State")) + row(cell("drift") + cell("mended"), 120) + row(cell("trawl") + cell("torn"))
    end = row(cell("", 16_384), 1_048_000)
    table = f"<office:spreadsheet><table:table table:name='Nets'>{rows}{end}</table:table></office:spreadsheet>"
    document = read(odf(tmp_path / "a.ods", "spreadsheet", table))
    assert document.text == "\n".join(["Nets\n\nNet | State", *["drift | mended"] * 120, "trawl | torn"])
    assert len(document.row_sets[0].rows) == 122
    monkeypatch.setattr("ingestion.parse.opendocument._MAX_CELLS", 1000)
    filled = row(cell("drift", 3), 1_048_576)
    table = f"<office:spreadsheet><table:table table:name='Nets'>{filled}</table:table></office:spreadsheet>"
    document = read(odf(tmp_path / "b.ods", "spreadsheet", table))
    assert document.warnings == ("a table was cut off: too many cells",)


def test_epub_without_reading_order_and_encrypted_chapters(tmp_path: Path) -> None:
    def book(path: Path, encrypted: str = "") -> Path:
        parts = {
            "mimetype": "application/epub+zip",
            "book.opf": (
                '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml"/></manifest>'
                "<spine/></package>"
            ),
            "a.xhtml": "<html><body><p>The only chapter</p></body></html>",
        }
        if encrypted:
            parts["META-INF/encryption.xml"] = (
                f'<e xmlns:x="http://www.w3.org/2001/04/xmlenc#"><x:CipherReference URI="{encrypted}"/></e>'
            )
        return zipped(path, parts)

    assert read(book(tmp_path / "a.epub")).text == "The only chapter"
    assert read(book(tmp_path / "b.epub", "font.otf")).text == "The only chapter"
    with pytest.raises(DataError, match="password"):
        read(book(tmp_path / "c.epub", "a.xhtml"))


def test_mail_parts_that_say_something_of_their_own(tmp_path: Path) -> None:
    def letter(content_type: str, body: str) -> str:
        head = "From: a@example.org\nSubject: x\nDate: Fri, 1 Mar 2024 10:00:00 +0000\nMIME-Version: 1.0\n"
        return f"{head}Content-Type: {content_type}\n\n{body}"

    plain = "--b\nContent-Type: text/plain\n\nThe list of ships is below this line.\n"
    page = "--b\nContent-Type: text/html\n\n<p>The <b>Aurora</b> and four other ships</p>\n--b--\n"
    twin = "--b\nContent-Type: text/html\n\n<p>The list of <b>ships</b> is below this line.</p>\n--b--\n"
    several = read(write(tmp_path, "a.eml", letter("multipart/mixed; boundary=b", plain + page))).text
    assert "The list of ships" in several and "The Aurora and four other ships" in several
    assert "Aurora" not in read(write(tmp_path, "b.eml", letter("multipart/alternative; boundary=b", plain + page))).text
    assert read(write(tmp_path, "c.eml", letter("multipart/mixed; boundary=b", plain + twin))).text.count("list of") == 1
    assert "The list of ships" in read(write(tmp_path, "d.eml", letter("multipart/mixed", plain))).text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_mail_in_wide_characters(tmp_path: Path, encoding: str) -> None:
    head = "Subject: Tides\nFrom: a@example.org\nContent-Type: text/plain; charset=utf-8\n"
    letter = f"{head}\nHigh water in the harbour is at six, say the Größen.\n"
    document = read(write(tmp_path, "wide.eml", letter.encode(encoding)))
    assert (document.title, document.text.rsplit("\n\n")[-1]) == ("Tides", "High water in the harbour is at six, say the Größen.")


def test_what_a_saved_page_is_made_of_is_no_attachment(tmp_path: Path) -> None:
    def part(kind: str, body: str) -> str:
        return f"--b\nContent-Type: {kind}\nContent-Location: http://example.org/{kind[-3:]}\n\n{body}\n"

    page = part("text/html", "<p>A saved page</p>") + part("text/css", "p { color: red }") + part("image/png", "iVBORw0")
    document = read(write(tmp_path, "a.mht", f"MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n{page}--b--\n"))
    assert (document.text, document.attachments) == ("A saved page", ())


def test_mail_sealed_in_its_text_and_mail_that_is_a_file(tmp_path: Path) -> None:
    head = "From: a@example.org\nSubject: x\nDate: Fri, 1 Mar 2024 10:00:00 +0000\nMIME-Version: 1.0\n"
    sealed = "-----BEGIN PGP MESSAGE-----\n\nhQEMA1rX\n-----END PGP MESSAGE-----\n"
    with pytest.raises(DataError, match=r"no text: .* private key"):
        read(write(tmp_path, "a.eml", f"{head}\n{sealed}"))
    document = read(write(tmp_path, "b.eml", f"{head}\nin clear\n\n{sealed}"))
    assert "in clear" in document.text and "hQEMA" not in document.text
    assert document.warnings == ("an encrypted part was left out",)
    alone = f"{head}Content-Type: text/csv; name=tides.csv\nContent-Disposition: attachment; filename=tides.csv\n\nport,metres\n"
    assert [one.uri[-9:] for one in read(write(tmp_path, "c.eml", alone)).attachments] == ["tides.csv"]
