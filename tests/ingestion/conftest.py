from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingestion.collection import Collection, collection_in
from tests.ingestion.fakes import InlineParsers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    return folder


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> type[InlineParsers]:
    """Parse in this process: fast, and every parsed source is on the list."""
    InlineParsers.parsed = []
    monkeypatch.setattr("ingestion.run.ParserPool", InlineParsers)
    return InlineParsers


@pytest.fixture
def kb(tmp_path: Path, inline: type[InlineParsers]) -> Collection:
    return collection_in(tmp_path / "home")
