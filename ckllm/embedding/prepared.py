"""A bundled model, converted once into a folder that every runtime loads.

The folder is a plain sentence-transformers model (config, safetensors, tokenizer, pooling) with the graph of the fast runtime in
`openvino/` and a description of what it was made from in `ckllm.json`. It can be deleted, and is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ckllm.embedding.bundled import BundledModel, PackageFile
from ckllm.errors import DataError
from ckllm.file_hash import file_sha256
from ckllm.made_folder import DESCRIPTION, described, is_whole, made_folder, sizes

FORMAT = 4
"""Raised when the conversion changes what it writes; older folders are then made again."""


def prepare(model: BundledModel, models_folder: Path) -> Path:
    """The converted folder of `model`, made now if it is missing, incomplete, or made from other files.

    Safe against other processes doing the same, and against being killed: the folder appears in one rename.
    """
    folder = models_folder / model.name
    try:
        return made_folder(folder, lambda: is_current(model, folder), lambda making: _fill(model, making))
    except OSError as error:
        raise DataError(f"cannot write the model {model.name} to {folder}: {error.strerror or error}") from None


def is_current(model: BundledModel, folder: Path) -> bool:
    """Whether `folder` is whole and made from the files that are installed. Costs a few file look-ups, no reading of weights."""
    description = described(folder)
    try:
        if description["format"] != FORMAT or not description["files"]:
            return False
        whole = is_whole(folder, description["files"])
    except (KeyError, TypeError, AttributeError):
        return False
    return whole and all(_is_same(source.find(), description["sources"].get(key)) for key, source in _sources(model))


def _sources(model: BundledModel) -> Iterator[tuple[str, PackageFile]]:
    yield "weights", model.weights
    yield "tokenizer", model.tokenizer


def _is_same(file: Path | None, recorded: object) -> bool:
    """Equal size and time settle it; a file that was only copied or touched is compared by hash. Without the package a
    converted model still serves."""
    if file is None:
        return True
    if not isinstance(recorded, dict) or file.stat().st_size != recorded.get("size"):
        return False
    return file.stat().st_mtime_ns == recorded.get("mtime_ns") or file_sha256(file) == recorded.get("sha256")


def _fill(model: BundledModel, folder: Path) -> None:
    # only here: it imports OpenVINO, and its graphs are needed once
    from ckllm.embedding.conversion import convert

    _describe(model, folder, convert(model, folder))


def _describe(model: BundledModel, folder: Path, agreement: Mapping[str, float]) -> None:
    sources = {
        key: {"size": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns, "sha256": file_sha256(file)}
        for key, file in ((key, source.locate()) for key, source in _sources(model))
    }
    made = {"sources": sources, "files": sizes(folder), "agreement": dict(agreement)}
    description = {"format": FORMAT, "model": model.name, **made}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
