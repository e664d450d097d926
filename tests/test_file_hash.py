"""A hash is remembered for the file that was read, and for no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckllm.errors import DataError
from ckllm.file_hash import file_sha256


def put(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(1_000, 1_000))


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    put(file, "one")
    first = file_sha256(file)
    put(tmp_path / "new", "two")
    (tmp_path / "new").replace(file)
    second = file_sha256(file)
    put(file, "six")
    assert len({first, second, file_sha256(file)}) == 3


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights"
    put(file, "one")
    first = file_sha256(file)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was read again"))
    assert file_sha256(file) == first


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        file_sha256(tmp_path / "nothing")
