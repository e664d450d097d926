"""The shipped reader: low-rank changes to the matrices of multilingual-e5-small (LoRA, Hu et al. 2021) and a head, put together
with the model once and kept as a graph of the fast runtime."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from ckllm.errors import DataError

SHIPPED = Path(__file__).parent / "shipped" / "reader.safetensors"
BASE = "multilingual-e5-small"
FORMAT = 1
"""Raised when the conversion changes what it writes."""
GRAPH = "reader.xml"
COMPILED = "compiled"


def prepare(adapter: Path, base: Path, models_folder: Path) -> Path:
    """The folder with the graph of `adapter` on the converted model in `base`, made now if it is missing.

    Safe against other processes doing the same, and against being killed: the folder appears in one rename.
    """
    digest = hashlib.sha256(adapter.read_bytes()).hexdigest()
    folder = models_folder / f"{BASE}-reader-{FORMAT}-{digest[:12]}"
    if _whole(folder):
        return folder

    from filelock import FileLock

    try:
        with FileLock(models_folder / f".{folder.name}.lock"):
            if not _whole(folder):
                _make(adapter, base, folder)
    except OSError as error:
        raise DataError(f"cannot write the reader to {folder}: {error.strerror or error}") from None
    return folder


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


def _make(adapter: Path, base: Path, folder: Path) -> None:
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-making-", dir=folder.parent))
    making.chmod(0o755)
    try:
        _write_graph(adapter, base, making / GRAPH)
        sizes = {path.name: path.stat().st_size for path in sorted(making.iterdir())}
        (making / "files.json").write_text(json.dumps(sizes), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_graph(adapter: Path, base: Path, file: Path) -> None:
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
