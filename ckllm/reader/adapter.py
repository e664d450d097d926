"""The shipped reader: low-rank changes to the matrices of multilingual-e5-small (LoRA, Hu et al. 2021) and a head, put together
with the model once and kept as a graph of the fast runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckllm.apart import answer, called_apart
from ckllm.errors import DataError
from ckllm.file_hash import file_sha256
from ckllm.made_folder import converted, described

SHIPPED = Path(__file__).parent / "shipped" / "reader.safetensors"
BASE = "multilingual-e5-small"
VERSION = 2
"""Raised when what is written changes."""
GRAPH = "reader.xml"
COMPILED = "compiled"


def prepare(adapter: Path, base: Path, models_folder: Path) -> Path:
    """The folder with the graph of `adapter` on the converted model in `base`, made now if it is missing, or was made on another
    one. DataError where it cannot be."""
    digest = file_sha256(adapter)
    made_of = {key: value for key, value in described(base).items() if key in ("format", "sources")}
    identity = {"kind": "reader", "version": VERSION, "sha256": digest, "base": made_of}

    def build(folder: Path) -> Mapping[str, Any]:
        # apart: a service that did it would keep 140 MB of it for as long as it runs
        try:
            return called_apart("ckllm.reader.adapter", adapter, base, folder / GRAPH)
        except DataError as error:
            raise DataError(f"the reader could not be put together from {adapter} and {base}: {error}") from None

    return converted(models_folder / f"{BASE}-reader-{digest[:12]}", identity, build)


def write_graph(adapter: Path, base: Path, file: Path) -> None:
    import numpy as np
    import openvino as ov
    from safetensors import safe_open
    from safetensors.numpy import load_file

    from ckllm.embedding.bert_graph import Graph, Shape
    from ckllm.embedding.bundled import WEIGHTS

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"])
    tensors = {name: tensor.astype(np.float32, copy=False) for name, tensor in load_file(base / WEIGHTS).items()}
    with safe_open(adapter, "numpy") as stored:
        scale = float(stored.metadata()["scale"])
        factors = {name: stored.get_tensor(name).astype(np.float32) for name in stored.keys()}  # noqa: SIM118 - no mapping
    for name in [name.removesuffix(".lora_A") for name in factors if name.endswith(".lora_A")]:
        matrix = f"{name}.weight"
        if matrix not in tensors:
            raise DataError(f"{adapter} changes {matrix}, which {BASE} does not have")
        tensors[matrix] = tensors[matrix] + scale * factors[f"{name}.lora_B"] @ factors[f"{name}.lora_A"]
    ov.save_model(Graph(shape, tensors).build_labels(factors["head.weight"], factors["head.bias"]), file, compress_to_fp16=False)


if __name__ == "__main__":
    answer(lambda: write_graph(*map(Path, sys.argv[1:])))
