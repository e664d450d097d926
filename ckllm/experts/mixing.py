"""Several adapters at once: which, how much of each, and the sum as one adapter.

A LoRA adapter adds scale · B · A to a weight. The weighted sum of several is again one: the A stacked and the B, each times
its weight and scale, side by side. That is exact, where adding the A and the B themselves (PEFT's "linear" combination) is
not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckllm.errors import DataError, UsageError
from ckllm.llm.peft_folder import CONFIG, WEIGHTS, adapter_config, scaling

MASS = 0.7
"""Experts are added, best first, until they hold this share of all weight."""


def weights(distances: Mapping[str, float], temperature: float = 1.0) -> dict[str, float]:
    """softmax(-distance / temperature), best first."""
    if temperature <= 0:
        raise UsageError(f"temperature = {temperature!r}: a number above 0 is expected")
    nearest = min(distances.values(), default=0.0)
    raised = {name: math.exp(-(distance - nearest) / temperature) for name, distance in distances.items()}
    total = sum(raised.values())
    return dict(sorted(((name, value / total) for name, value in raised.items()), key=lambda pair: (-pair[1], pair[0])))


def mixture(probabilities: Mapping[str, float], top: int, temperature: float = 1.0) -> dict[str, float]:
    """Weights of the experts that answer together: at most `top`, cut at MASS, summing to 1.

    An expert's distance is the negative logarithm of its probability, so that at temperature 1 the weights are the probabilities.
    """
    if top < 1:
        raise UsageError(f"top_experts = {top}: at least 1 is expected")
    kept: dict[str, float] = {}
    for name, weight in weights({n: -math.log(max(p, 1e-12)) for n, p in probabilities.items()}, temperature).items():
        if len(kept) == top or sum(kept.values()) >= MASS:
            break
        kept[name] = weight
    total = sum(kept.values())
    return {name: round(weight / total, 6) for name, weight in kept.items()}


def named(expert: str) -> dict[str, float]:
    """`NAME`, `NAME,NAME` or `NAME:0.7,NAME:0.3` as weights that sum to 1. Raises UsageError for a bad or repeated part."""
    given: dict[str, float] = {}
    for part in expert.split(","):
        name, _, amount = part.strip().partition(":")
        try:
            weight = float(amount) if amount else 1.0
        except ValueError:
            raise UsageError(f"expert {part.strip()!r}: the weight after the colon is not a number") from None
        if not name or name in given or not weight > 0 or not math.isfinite(weight):
            raise UsageError(
                f"expert {expert!r}: give names, each once, with weights above 0, as in NAME,NAME or NAME:0.7,NAME:0.3"
            )
        given[name] = weight
    total = sum(given.values())
    return {name: weight / total for name, weight in given.items()}


def merge(adapters: Mapping[Path, float], folder: Path) -> None:
    """Write the weighted sum of PEFT LoRA folders as one adapter. Raises DataError for what is not LoRA, UsageError for none."""
    from safetensors.numpy import load_file, save_file

    if not adapters:
        raise UsageError("no adapters to merge: name at least one")
    loaded = [(load_file(source / WEIGHTS), scaling(source), weight) for source, weight in adapters.items()]
    names = sorted(
        {name.removesuffix(".lora_A.weight") for tensors, _, _ in loaded for name in tensors if name.endswith(".lora_A.weight")}
    )
    if not names:
        raise DataError(f"{next(iter(adapters))} holds no LoRA weights: expected tensors named …lora_A.weight")
    merged: dict[str, NDArray[np.float32]] = {}
    width = max(sum(_rank(tensors, name) for tensors, _, _ in loaded) for name in names)
    for name in names:
        parts = [(t, s * w) for t, s, w in loaded if f"{name}.lora_A.weight" in t]
        down = np.concatenate([t[f"{name}.lora_A.weight"].astype(np.float32) for t, _ in parts])
        up = np.concatenate([t[f"{name}.lora_B.weight"].astype(np.float32) * np.float32(factor) for t, factor in parts], axis=1)
        pad = width - len(down)
        merged[f"{name}.lora_A.weight"] = np.ascontiguousarray(np.pad(down, ((0, pad), (0, 0))))
        merged[f"{name}.lora_B.weight"] = np.ascontiguousarray(np.pad(up, ((0, 0), (0, pad))))
    config = adapter_config(next(iter(adapters)))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(merged, folder / WEIGHTS, metadata={"format": "pt"})
    layers = sorted({int(part) for name in names for part in name.split(".") if part.isdigit()})
    config |= {"r": width, "lora_alpha": width, "use_rslora": False, "layers_to_transform": layers or None}
    config["target_modules"] = sorted({name.rsplit(".", 1)[-1] for name in names})
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def _rank(tensors: Mapping[str, NDArray[np.generic]], name: str) -> int:
    found = tensors.get(f"{name}.lora_A.weight")
    return 0 if found is None else len(found)
