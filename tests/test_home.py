"""The home directory is made for its owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import ckllm
from ckllm.errors import UsageError
from ckllm.home import make_home


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_other_users_of_the_machine_cannot_look_into_a_new_home(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with ckllm.open(tmp_path / "data" / "home") as kb:
            kb.documents()
    finally:
        os.umask(before)
    assert permissions(tmp_path / "data" / "home") == 0o700
    assert permissions(tmp_path / "data") == 0o755


def test_a_home_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_home(tmp_path)
    assert permissions(tmp_path) == 0o750


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/home cannot be made"):
        make_home(tmp_path / "file" / "home")
