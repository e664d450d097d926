"""The command line run in this process, on an own home with the hashing embedder and a scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ckllm.cli import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    for name, value in {
        "CKLLM_HOME": str(folder),
        "CKLLM_EMBEDDING__MODEL": "hashing",
        "CKLLM_LLM__ENGINE": "scripted",
        "CKLLM_STORE__LOCK_TIMEOUT_S": "2",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def run(home: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `ckllm ARGUMENTS…` and gives back its exit code, stdout and stderr."""
    assert not home.exists()

    def call(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, out, err)

    return call


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of three small documents."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "bridge.md").write_text("# The bridge\n\nThe bridge at Wend was opened in 1931. It is 412 metres long.\n")
    (folder / "ferry.txt").write_text("The ferry crosses every twenty minutes and takes eleven cars.\n")
    (folder / "tolls.csv").write_text("vehicle,toll\nbicycle,0\ncar,3\nlorry,12\n")
    return folder
