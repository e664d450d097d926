from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from ckllm.errors import DataError
from ingestion.parse.decode import decode
from ingestion.parse.detect import detect
from tests.ingestion import hostile_files
from tests.ingestion.parse.reading import MAX_BYTES, source_of, write

PROSE = "The harbour master wrote a long letter about the tides. "


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("paper.txt", b"%PDF-1.7\n1 0 obj\nendobj", "application/pdf"),
        ("page.txt", "<!DOCTYPE html><html><body>hello</body></html>", "text/html"),
        ("page.html", PROSE, "text/plain"),
        ("note.md", "# Head\n\nbody", "text/markdown"),
        ("note.txt", "# Head\n\nbody", "text/plain"),
        ("rows.csv", "a,b\n1,2\n", "text/csv"),
        ("data.xml", "<?xml version='1.0'?><a><b>c</b></a>", "application/xml"),
        ("page.xhtml", "<?xml version='1.0'?><!-- x --><html><body>a</body></html>", "text/html"),
        ("talk.txt", "WEBVTT\n\n00:00.000 --> 00:01.000\nhi\n", "text/vtt"),
        ("letter.txt", "From: a@b.c\nTo: d@e.f\nDate: x\nMIME-Version: 1.0\n\nhello", "message/rfc822"),
        ("memo.txt", "From: the harbour\nSubject: tides\n\nhello", "text/plain"),
        ("run.py", "def f():\n    return 1\n", "text/x-python"),
        ("cells.ipynb", '{"cells": [], "nbformat": 4}', "application/x-ipynb+json"),
        ("stdin", '{"a": [1, 2]}', "application/json"),
        ("x.bin", b"{\\rtf1 hello}", "application/rtf"),
        ("page.doc", "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n--b\n", "message/rfc822"),
        ("format.md", "A file of that kind begins with %PDF-1.7 in its first line.", "text/markdown"),
        ("crash.log", f"{PROSE}\0{PROSE}", "text/plain"),
        ("all.mbox", "From a@b.c Fri Mar  1 10:00:00 2024\nSubject: tides\n\nhello\n", "application/mbox"),
        ("one.eml", "From a@b.c Fri Mar  1 10:00:00 2024\nSubject: tides\n\nhello\n", "message/rfc822"),
        ("x.dat", b"\x89PNG\r\n\x1a\n" + b"0" * 40, "image/png"),
    ],
)
def test_content_decides_and_the_name_only_hints(tmp_path: Path, name: str, content: str | bytes, media_type: str) -> None:
    assert detect(source_of(write(tmp_path, name, content)), MAX_BYTES) == media_type


def test_zip_containers_are_told_by_their_members(tmp_path: Path) -> None:
    path = tmp_path / "book.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    assert detect(source_of(path), MAX_BYTES) == "application/epub+zip"
    document = hostile_files.docx_of(tmp_path / "renamed.pdf", "<w/>")
    assert detect(source_of(document), MAX_BYTES).endswith("wordprocessingml.document")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    assert detect(source_of(path), MAX_BYTES) == "application/zip"


def test_a_container_whose_first_member_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
    data = bytearray(path.read_bytes())
    data[38] = 0xFF  # the first byte of the packed data
    with pytest.raises(DataError, match="broken container"):
        detect(source_of(write(tmp_path, "book.epub", bytes(data))), MAX_BYTES)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.pdf", b"", "empty file"),
        ("noise.pdf", bytes(range(256)) * 20, "binary data"),
        ("program", b"\x7fELF" + b"\0" * 100, "a program"),
        ("old.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 100, "unpack it first"),
        ("winmail.dat", b"\x78\x9f\x3e\x22" + b"\0" * 100, "ask the sender"),
        ("cut.zip", b"PK\x03\x04" + b"\0" * 100, "broken zip"),
        ("cut.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "broken OLE"),
    ],
)
def test_what_is_no_document_is_refused_with_a_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        detect(source_of(write(tmp_path, name, content)), MAX_BYTES)
    assert "\n" not in str(caught.value)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="binary data"):
        detect(source_of(hostile_files.rubbish(tmp_path)), MAX_BYTES)


def test_size_kind_of_file_and_unbroken_text(tmp_path: Path) -> None:
    source = source_of(write(tmp_path, "big.txt", PROSE * 100))
    with pytest.raises(DataError, match="too large"):
        detect(source, 1000)
    with pytest.raises(DataError, match="1,200,000 characters in a row"):
        detect(source_of(hostile_files.unbroken_text(tmp_path)), MAX_BYTES)
    assert detect(source_of(write(tmp_path, "long.txt", PROSE * 50_000)), MAX_BYTES) == "text/plain"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    fields = source_of(write(tmp_path, "x.txt", PROSE))
    with pytest.raises(DataError, match="not a regular file"):
        detect(type(fields)(str(pipe), pipe, 0, ""), MAX_BYTES)


def test_unbroken_text_is_found_wherever_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "late.txt", PROSE * 30_000 + "y" * 1_048_577)
    with pytest.raises(DataError, match="without white space"):
        detect(source_of(path), MAX_BYTES)
    assert detect(source_of(write(tmp_path, "edge.txt", PROSE * 30_000 + "y" * 1_048_570)), MAX_BYTES) == "text/plain"


ENGLISH = "Plain words, nothing else."
SAMPLES = {
    "utf-8": "Grüße aus Köln – 你好",
    "utf-8-sig": "Grüße",
    "utf-16": "Grüße aus Köln",
    "utf-16-le": "plain words without a mark",
    "utf-16-be": "plain words without a mark",
    "utf-32": "Grüße",
    "utf-32-le": "plain words",
    "cp1252": "Der Käufer zahlt 30 € – „sofort“, sagte die Verkäuferin in München.",
    "koi8-r": "Съешь же ещё этих мягких французских булок да выпей чаю. Широкая электрификация южных губерний даст мощный толчок."
    * 3,
    "cp1251": "Съешь же ещё этих мягких французских булок да выпей чаю. Широкая электрификация южных губерний даст мощный толчок."
    * 3,
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。" * 3,
    "euc_kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 이성과 양심을 부여받았다." * 3,
    "gb18030": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。" * 3,
    "big5": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。" * 3,
}


@pytest.mark.parametrize("encoding", sorted(SAMPLES))
def test_encodings_are_recognised(encoding: str) -> None:
    text = SAMPLES[encoding]
    assert decode(text.encode(encoding))[0] == text


def test_a_declared_encoding_is_believed_where_the_bytes_agree() -> None:
    assert decode("Łódź".encode("iso8859_2"), "iso-8859-2")[0] == "Łódź"
    assert decode("Grüße".encode(), "ascii")[0] == "Grüße"
    assert decode(ENGLISH.encode(), "no-such-encoding")[0] == ENGLISH


def test_a_few_broken_bytes_do_not_change_the_encoding() -> None:
    data = ("Grüße aus Köln. " * 40).encode() + b"\xff and on"
    assert decode(data)[0].startswith("Grüße aus Köln.")


@pytest.mark.parametrize("text", ["Señor López", "crème brûlée, déjà vu"])
def test_broken_bytes_in_a_short_text_do_not_change_the_encoding(text: str) -> None:
    assert decode(text.encode() + b"\xff and on")[0] == f"{text}\ufffd and on"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "编号,货物,港口\n1,绿茶,宁波\n2,丝绸,青岛\n"),
        ("cp949", "이름,나이\n김하늘,31\n"),
        ("cp932", "氏名,年齢\n髙木花子,31\n中村次郎,27\n"),
        ("euc_jp", "みなと,むら\nなごや,とば\n"),
        ("cp1250", "Miasto;Rzeka\nŁódź;Łódka\nPisz;długa Pisa\n"),
        ("iso8859_2", "święta są piękne, małe Łódki płyną"),
        ("cp1252", "It costs £5; the isotope ³He is rare, a café serves tea."),
    ],
)
def test_short_tables_are_read_in_their_encoding(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.parametrize("declared", ["rot13", "zlib", "quopri", "undefined", "unicode_escape", "x" * 5000, "a\x00b"])
def test_a_declared_codec_that_is_none_of_text_is_not_believed(declared: str) -> None:
    assert decode("C:\\new, Grüße aus Köln".encode("cp1252"), declared) == ("C:\\new, Grüße aus Köln", "cp1252")
