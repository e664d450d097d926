"""`ckllm experts train` and `evaluate` from end to end: rows in, an installed expert out that the engine loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckllm.cli import main
from ckllm.config import load_settings
from ckllm.contracts import Message
from ckllm.errors import UsageError
from ckllm.experts.registry import adapter_weights, verify
from ckllm.experts.table import open_registry
from ckllm.experts.training.loop import Progress
from ckllm.experts.training.trackers import open_tracker
from ckllm.file_hash import file_sha256
from ckllm.llm.transformers import TransformersLLM
from tests.experts.models import whole_model
from tests.knowledge import add, knowledge_base

COLOURS = ("red", "green", "blue", "grey", "pink")
FAST = ("--steps", "12", "--evaluate-every", "4", "--checkpoint-every", "1", "--learning-rate", "0.02", "--rank", "4",
        "--score-rows", "4")  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_model(tmp_path_factory.mktemp("models") / "tiny", "chatml", 5, spread=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [
        {"prompt": f"colour {n}?", "response": COLOURS[n % 5], "source": f"doc{n % 12}", "weight": 1.0 if n % 4 else 0.5}
        for n in range(48)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("CKLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CKLLM_LLM__MODEL", str(base))
    monkeypatch.setenv("CKLLM_LLM__ENGINE", "transformers")
    monkeypatch.setenv("CKLLM_LLM__DEVICE", "cpu")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_an_expert_is_trained_installed_and_served(run: Run, tmp_path: Path, base: Path, data: Path) -> None:
    code, out, err = run("experts", "train", "colours", "--data", data, *FAST, "--licence", "CC0-1.0", "--json")
    assert code == 0, err
    assert "left" in err
    card = json.loads(out)
    assert card["base_model"] == str(base)
    assert card["base_sha256"] == file_sha256(base / "model.safetensors")
    assert card["training"]["data_sha256"] == file_sha256(data)
    assert card["training"]["command"].startswith("ckllm experts train colours --data rows.jsonl --steps 12")
    assert card["scores"]["expert"]["loss"] < card["scores"]["base"]["loss"]
    assert {"f1", "exact"} <= card["scores"]["expert"].keys() & card["scores"]["base"].keys()
    assert not (tmp_path / "home/training/colours").exists()
    expert = open_registry(load_settings()).get("colours")
    verify(expert)
    question = [Message("user", "colour 3?")]
    with TransformersLLM(str(base), max_tokens=8, device="cpu") as llm:
        before = llm.run(question)
        assert llm.run(question, adapters=adapter_weights({"colours": 1.0}, open_registry(load_settings()))) != before
    taken = run("experts", "train", "colours", "--data", data, *FAST)
    assert taken[0] == 2
    assert "already" in taken[2]
    code, out, err = run("experts", "evaluate", "colours", "--data", data, "--limit", "8", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["rows"], report["expert_name"]) == (8, "colours")
    assert report["gain_f1"]["low"] <= report["gain_f1"]["mean"] <= report["gain_f1"]["high"]


def killed_half_way(arguments: list[str], checkpoint: Path) -> None:
    """Runs the command in a process of its own and kills it soon after its first checkpoints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ckllm", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )
    deadline = time.monotonic() + 120
    step = 0
    while step < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        try:
            step = json.loads(checkpoint.read_text(encoding="utf-8"))["step"]
        except (OSError, ValueError):
            continue
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert step >= 3, "it ended before it could be killed"


def test_a_killed_run_goes_on_to_the_same_adapter(run: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "experts",
        "train",
        "colours",
        "--data",
        str(data),
        *FAST[2:],
        "--steps",
        "60",
        "--patience",
        "99",
        "--epochs",
        "40",
    ]
    assert run(*arguments)[0] == 0
    straight = tmp_path / "home/experts/colours/adapter_model.safetensors"
    other = tmp_path / "other-home"
    monkeypatch.setenv("CKLLM_HOME", str(other))
    killed_half_way(arguments, other / "training/colours/checkpoint/state.json")
    assert not (other / "experts/colours").exists()
    changed = run(*arguments, "--seed", "5")
    assert changed[0] == 2
    assert "other data or settings" in changed[2]
    code, _, err = run(*arguments)
    assert code == 0, err
    assert "step 1/" not in err
    assert (other / "experts/colours/adapter_model.safetensors").read_bytes() == straight.read_bytes()


def test_restart_forgets_a_stopped_run(run: Run, tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "home/training/colours"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint/state.json").write_text('{"run": "another", "step": 3}', encoding="utf-8")
    assert run("experts", "train", "colours", "--data", data, *FAST)[0] == 2
    assert run("experts", "train", "colours", "--data", data, *FAST, "--restart")[0] == 0


def test_rows_are_made_of_a_collection(run: Run, tmp_path: Path) -> None:
    with knowledge_base(tmp_path / "home") as kb:
        for n in range(8):
            add(kb, f"mill{n}.txt", f"The old mill number {n} was built by Anna Keller in {1870 + n} near the river Wend.\n\n"
                f"In 19{n:02d} the Boat Trust bought the mill and its {n + 3} wheels from the town council.")  # fmt: skip
    code, out, err = run("experts", "train", "mills", "--collection", "main", *FAST, "--json")
    assert code == 0, err
    card = json.loads(out)
    assert card["training"]["rows"] >= 24
    assert len(card["training"]["data_sha256"]) == 64


# -- trackers


class FakeTracker:
    """A module with the functions of wandb and trackio."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__spec__ = None
        self.calls: list[tuple[str, Any]] = []

    def init(self, **given: Any) -> None:
        self.calls.append(("init", given))

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", (values, step)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_the_curve_goes_to_a_tracker(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTracker(kind)
    monkeypatch.setitem(sys.modules, kind, fake)  # type: ignore[arg-type]  # a stand-in for the module
    tracker = open_tracker(kind, "colours", tmp_path, {"rank": 4})
    tracker.log(Progress(1, 9, 2.5, None, 1.0))
    tracker.log(Progress(2, 9, 2.0, 2.25, 1.0))
    tracker.close()
    assert [call for call, _ in fake.calls] == ["init", "log", "log", "finish"]
    assert (fake.calls[0][1]["name"], fake.calls[0][1]["config"]) == ("colours", {"rank": 4})
    assert fake.calls[2][1] == ({"loss": 2.0, "validation_loss": 2.25}, 2)


def test_a_tracker_that_is_missing_says_what_to_install(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    code, _, err = run("experts", "train", "colours", "--data", data, *FAST, "--log-to", "trackio")
    assert code == 2
    assert "pip install trackio" in err
    with pytest.raises(UsageError, match="wandb, trackio, tensorboard"):
        open_tracker("paper", "x", Path("x"), {})
