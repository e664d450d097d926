"""The shipped reader: low-rank changes to the matrices of multilingual-e5-small (LoRA, Hu et al. 2021) and a head, put together
with the model once and kept as a graph of the fast runtime."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from ckllm.errors import DataError
from ckllm.made_folder import made_folder

SHIPPED = Path(__file__).parent / "shipped" / "reader.safetensors"
BASE = "multilingual-e5-small"
FORMAT = 1
"""Raised when the conversion changes what it writes."""
GRAPH = "reader.xml"
COMPILED = "compiled"


def prepare(adapter: Path, base: Path, models_folder: Path) -> Path:
    """The folder with the graph of `adapter` on the converted model in `base`, made now if it is missing."""
    digest = hashlib.sha256(adapter.read_bytes()).hexdigest()
    folder = models_folder / f"{BASE}-reader-{FORMAT}-{digest[:12]}"
    try:
        return made_folder(folder, lambda: _whole(folder), lambda making: _fill(adapter, base, making))
    except OSError as error:
        raise DataError(f"cannot write the reader to {folder}: {error.strerror or error}") from None


def discard(folder: Path) -> None:
    """Make the next `prepare` convert again, because `folder` turned out to be damaged."""
    with contextlib.suppress(OSError):
        (folder / "files.json").unlink()


def _whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / "files.json").read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _fill(adapter: Path, base: Path, folder: Path) -> None:
    _write_apart(adapter, base, folder / GRAPH)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "files.json").write_text(json.dumps(sizes), encoding="utf-8")


def _write_apart(adapter: Path, base: Path, file: Path) -> None:
    """`write_graph` in a process of its own: a service that did it would keep 140 MB of it for as long as it runs."""
    command = [sys.executable, "-P", "-m", "ckllm.reader.adapter", str(adapter), str(base), str(file)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DataError(f"the reader could not be put together from {adapter} and {base}: {last}")


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
    try:
        write_graph(*map(Path, sys.argv[1:]))
    except DataError as error:
        sys.exit(str(error))
