"""Mixtures are the exact weighted sum."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ckllm.errors import DataError, UsageError
from ckllm.experts.mixing import merge, mixture, named, weights
from ckllm.llm.peft_folder import scaling


def adapter(
    folder: Path, rank: int, alpha: int, seed: int, modules: tuple[str, ...] = ("q_proj", "v_proj"), **config: object
) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    tensors = {}
    for module in modules:
        name = f"base_model.model.model.layers.0.self_attn.{module}"
        tensors[f"{name}.lora_A.weight"] = rng.normal(size=(rank, 12)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = rng.normal(size=(8, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "use_rslora": False} | config)
    )
    return folder


def dense(folder: Path, module: str) -> np.ndarray:
    tensors, name = load_file(folder / "adapter_model.safetensors"), f"base_model.model.model.layers.0.self_attn.{module}"
    if f"{name}.lora_A.weight" not in tensors:
        return np.zeros((8, 12))
    up, down = (tensors[f"{name}.lora_{part}.weight"].astype(np.float64) for part in "BA")
    return scaling(folder) * up @ down


def test_merged_adapter_is_the_weighted_sum(tmp_path: Path) -> None:
    parts = {
        adapter(tmp_path / "a", 4, 8, 1): 0.7,
        adapter(tmp_path / "b", 2, 3, 2, ("q_proj",)): 0.2,
        adapter(tmp_path / "c", 4, 8, 3, use_rslora=True): 0.1,
    }
    merge(parts, tmp_path / "merged")
    for module in ("q_proj", "v_proj"):
        expected = sum(weight * dense(folder, module) for folder, weight in parts.items())
        np.testing.assert_allclose(dense(tmp_path / "merged", module), expected, atol=1e-5)


def test_what_is_not_lora_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="plain LoRA"):
        merge({adapter(tmp_path / "a", 2, 2, 1, use_dora=True): 1.0}, tmp_path / "m")
    with pytest.raises(UsageError, match="no adapters"):
        merge({}, tmp_path / "m")


def test_weights_are_a_softmax_over_distances() -> None:
    found = weights({"far": 2.0, "near": 1.0}, temperature=0.5)
    assert list(found) == ["near", "far"]
    assert found["far"] / found["near"] == pytest.approx(math.exp(-2))


def test_mixture_is_cut_by_count_and_by_mass() -> None:
    scores = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    assert mixture(scores, 1) == {"a": 1.0}
    assert mixture(scores, 4) == {"a": 0.625, "b": 0.375}
    assert mixture({"a": 0.9, "b": 0.1}, 3) == {"a": 1.0}
    with pytest.raises(UsageError):
        mixture(scores, 0)


def test_names_with_weights() -> None:
    assert named("a") == {"a": 1.0}
    assert named("a:1, b:3") == {"a": 0.25, "b": 0.75}
