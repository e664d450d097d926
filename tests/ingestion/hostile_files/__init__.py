"""Files made to harm: each function writes one into a folder and returns its path."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

WORD_NAMES = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
RELATIONSHIPS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)


def docx_of(path: Path, document: str | bytes) -> Path:
    """A DOCX whose word/document.xml is `document` as it stands."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", CONTENT_TYPES)
        archive.writestr("_rels/.rels", RELATIONSHIPS)
        archive.writestr("word/document.xml", document)
    return path


def docx_bomb(folder: Path) -> Path:
    """40 MB of one letter in a document of 40 KB."""
    text = f"<w:document {WORD_NAMES}><w:body><w:p><w:r><w:t>{'a' * 40_000_000}</w:t></w:r></w:p></w:body></w:document>"
    return docx_of(folder / "bomb.docx", text)


def docx_entity_bomb(folder: Path) -> Path:
    return docx_of(
        folder / "entities.docx",
        f"{_laughs()}<w:document {WORD_NAMES}><w:body><w:p><w:r><w:t>before &l9; after</w:t></w:r></w:p></w:body></w:document>",
    )


def docx_external_entity(folder: Path, secret: Path) -> Path:
    head = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
    return docx_of(
        folder / "external.docx",
        f"{head}<w:document {WORD_NAMES}><w:body><w:p><w:r><w:t>before &x; after</w:t></w:r></w:p></w:body></w:document>",
    )


def docx_nested(folder: Path, depth: int = 3000) -> Path:
    inner = f"{'<w:sdt><w:sdtContent>' * depth}<w:p><w:r><w:t>deep</w:t></w:r></w:p>{'</w:sdtContent></w:sdt>' * depth}"
    return docx_of(folder / "nested.docx", f"<w:document {WORD_NAMES}><w:body>{inner}</w:body></w:document>")


def xml_laughs(folder: Path) -> Path:
    path = folder / "laughs.xml"
    path.write_text(f"{_laughs()}<data><p>&l9;</p></data>", encoding="utf-8")
    return path


def xml_external(folder: Path, secret: Path) -> Path:
    path = folder / "external.xml"
    path.write_text(
        f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]><d><p>a &x; b</p></d>', encoding="utf-8"
    )
    return path


def _laughs() -> str:
    rows = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "ha">{rows}]>'


def html_nested(folder: Path, depth: int = 100_000) -> Path:
    path = folder / "nested.html"
    path.write_text(
        f"<html><body><p>shallow words here</p>{'<div>' * depth}deep{'</div>' * depth}</body></html>", encoding="utf-8"
    )
    return path


def json_nested(folder: Path, depth: int = 200_000) -> Path:
    path = folder / "nested.json"
    path.write_text("[" * depth + "]" * depth, encoding="utf-8")
    return path


def zip_bomb(folder: Path) -> Path:
    """60 MB of zeros in 60 KB."""
    path = folder / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"{number}.txt", b"\0" * 10_000_000)
    return path


def zip_of_many(folder: Path, count: int) -> Path:
    path = folder / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.txt", b"x")
    return path


def zip_traversal(folder: Path) -> Path:
    path = folder / "traversal.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../escaped.txt", "/etc/absolute.txt", "C:\\windows\\drive.txt", "a/../../b.txt", "plain.txt"):
            archive.writestr(name, f"contents of {name}")
    return path


def zip_encrypted(folder: Path) -> Path:
    """A zip whose one member says that it is encrypted."""
    path = folder / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.txt", "secret words")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def tar_links(folder: Path) -> Path:
    path = folder / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("passwd.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        data = b"an honest file"
        honest = tarfile.TarInfo("../honest.txt")
        honest.size = len(data)
        archive.addfile(honest, io.BytesIO(data))
    return path


def gzip_bomb(folder: Path) -> Path:
    path = folder / "bomb.txt.gz"
    with gzip.open(path, "wb") as stream:
        for _ in range(60):
            stream.write(b"\0" * 1_000_000)
    return path


def pdf_bomb(folder: Path) -> Path:
    """A page whose content stream inflates to 400 MB: spaces compressed twice."""
    once = zlib.compressobj(1)
    inner = b"".join(once.compress(b" " * 10_000_000) for _ in range(40)) + once.flush()
    return pdf_of(folder / "bomb.pdf", zlib.compress(inner, 9), "/Filter [/FlateDecode /FlateDecode]")


def pdf_of(path: Path, content: bytes, extra: str = "", page: str = "") -> Path:
    """A PDF of one page with this content stream, Helvetica as /F1, and no cross-reference table."""
    parts = [
        b"%PDF-1.7\n",
        b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n",
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n",
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 "
        f"792]{page}/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>endobj\n".encode(),
        f"4 0 obj<</Length {len(content)}{extra}>>stream\n".encode(),
        content,
        b"\nendstream endobj\n",
        b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n",
        b"trailer<</Root 1 0 R>>\n%%EOF\n",
    ]
    path.write_bytes(b"".join(parts))
    return path


def unbroken_text(folder: Path, size: int = 1_200_000) -> Path:
    path = folder / "unbroken.txt"
    path.write_text(f"first words {'x' * size} last words", encoding="utf-8")
    return path


def rubbish(folder: Path) -> Path:
    path = folder / "rubbish.txt"
    path.write_bytes(os.urandom(4096))
    return path
