"""Pictures of pages."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from ckllm.client import RefusedError
from ingestion import ingest
from tests.service.serving import Served, served


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    folder = tmp_path_factory.mktemp("docs")
    file = folder / "two.pdf"
    canvas = Canvas(str(file), pagesize=(200, 100))
    for text in ("The first page tells of ropeways.", "The second page tells of canals."):
        canvas.drawString(10, 50, text)
        canvas.showPage()
    canvas.save()
    with served(tmp_path_factory.mktemp("home")) as running:
        assert ingest([file], running.core.base()).added == 1
        running.add(folder, "plain.txt", "Plain text has no pages at all.")
        running.ids["two.pdf"] = next(row.id for row in running.core.base().documents() if row.source == str(file))
        yield running, file


def test_a_page_is_drawn_at_its_scale(service: tuple[Served, Path]) -> None:
    running, _ = service
    with running.client() as client:
        pictures = [Image.open(io.BytesIO(client.document_page(running.ids["two.pdf"], page, 2.0))) for page in (1, 2)]
        small = Image.open(io.BytesIO(client.document_page(running.ids["two.pdf"], 1, 0.5)))
    assert [picture.size for picture in pictures] == [(400, 200)] * 2
    assert small.size == (100, 50)
    assert pictures[0].tobytes() != pictures[1].tobytes()


@pytest.mark.parametrize(("name", "page", "scale", "status"), [
    ("two.pdf", 3, 1.0, 404), ("plain.txt", 1, 1.0, 404), ("two.pdf", 0, 1.0, 422), ("two.pdf", 1, 100.0, 422),
    ("two.pdf", 1, float("nan"), 422),
])  # fmt: skip
def test_what_has_no_picture(service: tuple[Served, Path], name: str, page: int, scale: float, status: int) -> None:
    running, _ = service
    with running.client() as client, pytest.raises(RefusedError) as refused:
        client.document_page(running.ids[name], page, scale)
    assert refused.value.status == status


def test_a_file_that_has_changed_or_gone_is_not_shown(service: tuple[Served, Path]) -> None:
    running, file = service
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"%%EOF", b"%%EOX"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    with running.client() as client, pytest.raises(RefusedError) as changed:
        client.document_page(running.ids["two.pdf"], 1)
    file.unlink()
    with running.client() as client, pytest.raises(RefusedError) as gone:
        client.document_page(running.ids["two.pdf"], 1)
    assert "changed" in str(changed.value)
    assert "not there" in str(gone.value)
