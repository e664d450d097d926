"""The sample documents: enough of them, reproducible, and what the demonstration relies on."""

from __future__ import annotations

import csv
import email
import email.policy
import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pypdfium2
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DOCUMENTS = EXAMPLES / "documents"
BINARY = sorted(source.relative_to(EXAMPLES / "sources").with_suffix("") for source in (EXAMPLES / "sources").rglob("*.md"))


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_documents", EXAMPLES / "make_documents.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_documents"] = module
    spec.loader.exec_module(module)
    return module


def pdf_pages(path: Path) -> list[str]:
    with pypdfium2.PdfDocument(path) as pdf:
        return [page.get_textpage().get_text_bounded() for page in pdf]


def content(path: Path) -> object:
    """What a reader sees: pages of a PDF, members of an Office container, the bytes of anything else."""
    if path.suffix == ".pdf":
        return pdf_pages(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as container:
            return {name: container.read(name) for name in container.namelist()}
    return path.read_bytes()


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    load_script().make_all(folder)
    return folder


@pytest.mark.parametrize("name", BINARY, ids=str)
def test_committed_binaries_are_what_their_sources_give(name: Path, regenerated: Path) -> None:
    assert content(regenerated / name) == content(DOCUMENTS / name), "run `python examples/make_documents.py`"


def test_making_twice_gives_the_same_bytes(regenerated: Path, tmp_path: Path) -> None:
    for path in load_script().make_all(tmp_path):
        assert path.read_bytes() == (regenerated / path.relative_to(tmp_path)).read_bytes(), path.name


def test_there_are_documents_of_every_format_on_three_subjects() -> None:
    files = [path for path in DOCUMENTS.rglob("*") if path.is_file()]
    assert len(files) >= 12
    assert {path.parent.name for path in files} == {"water", "beekeeping", "workshop"}
    assert {".pdf", ".docx", ".pptx", ".xlsx", ".html", ".md", ".txt", ".csv", ".eml"} <= {path.suffix for path in files}
    assert sum(path.stat().st_size for path in files) < 1_000_000


@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.pdf")), ids=lambda path: path.stem)
def test_pdfs_have_pages_with_header_and_number(path: Path) -> None:
    pages = pdf_pages(path)
    assert len(pages) >= 3
    title = pages[0].splitlines()[0].strip()
    for number, text in enumerate(pages, start=1):
        assert title in text
        assert f"Page {number}" in text


def test_mail_carries_its_attachment() -> None:
    mail = email.message_from_bytes((DOCUMENTS / "water/pump-2-trip.eml").read_bytes(), policy=email.policy.default)
    (attachment,) = mail.iter_attachments()
    assert attachment.get_filename() == "mill-borehole-test.csv"
    assert "draw_down_m" in attachment.get_content()


@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.csv")), ids=lambda path: path.stem)
def test_rows_of_csv_files_are_as_long_as_their_header(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert len(rows) >= 20
    assert {len(row) for row in rows} == {len(header)}


def test_hindi_and_spanish_are_there() -> None:
    hindi = (DOCUMENTS / "water/ghar-ki-tanki.md").read_text(encoding="utf-8")
    letters = [character for character in hindi if character.isalpha()]
    assert sum("ऀ" <= character <= "ॿ" for character in letters) > 0.95 * len(letters)
    spanish = (EXAMPLES / "sources/beekeeping/guia-del-colmenar.docx.md").read_text(encoding="utf-8")
    assert {"año", "miel", "colmena"} <= set(spanish.split())
