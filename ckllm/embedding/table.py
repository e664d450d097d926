"""Which embedder a setting means: an explicit table, each line imported only when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

from ckllm.config import EmbeddingSettings
from ckllm.embedding.base import Embedder
from ckllm.embedding.bundled import MODELS, bundled_model, with_prefixes
from ckllm.embedding.prepared import prepare
from ckllm.errors import UpstreamError, UsageError

Opener: TypeAlias = Callable[[EmbeddingSettings, Path], Embedder]

EMBEDDERS = {
    "openvino": ("ckllm.embedding.table:open_openvino", "pip install 'openvino>=2026.4,<2027' tokenizers"),
    "sentence-transformers": (
        "ckllm.embedding.table:open_sentence_transformer",
        "pip install torch==2.13.0 'sentence-transformers>=6.2,<7'",
    ),
    "openai": ("ckllm.embedding.table:open_openai_compatible", "pip install 'httpx>=0.28' 'tenacity>=9'"),
    "hashing": ("ckllm.embedding.table:open_hashing", "pip install numpy"),
}
"""Runtime → (where its opener is, what installs what it needs)."""


def open_embedder(settings: EmbeddingSettings, models_folder: Path) -> Embedder:
    """The embedder that `settings` describe. Converts a bundled model into `models_folder` the first time.

    Raises UsageError for settings that contradict each other, UpstreamError for a missing package, model or server.
    """
    runtime = choose_runtime(settings)
    target, install = EMBEDDERS[runtime]
    module, _, function = target.partition(":")
    try:
        opener = cast(Opener, getattr(importlib.import_module(module), function))
        return opener(settings, models_folder)
    except ImportError as error:
        raise UpstreamError(f"embedding with {runtime} needs a package that is not installed ({error.name}): {install}") from None


def choose_runtime(settings: EmbeddingSettings) -> str:
    """A server where there is a base_url; OpenVINO for bundled models; sentence-transformers for everything else."""
    if settings.base_url:
        return "openai"
    if settings.model == "hashing":
        return "hashing"
    if settings.runtime == "openvino" and settings.model not in MODELS:
        bundled = ", ".join(MODELS)
        raise UsageError(f"embedding.runtime = openvino computes {bundled}, not {settings.model!r}: use sentence-transformers")
    if settings.runtime == "auto":
        return "openvino" if settings.model in MODELS else "sentence-transformers"
    return settings.runtime


def open_openvino(settings: EmbeddingSettings, models_folder: Path) -> Embedder:
    from ckllm.embedding.openvino_runtime import OpenVinoEmbedder

    model = with_prefixes(bundled_model(settings.model), settings.query_prefix, settings.passage_prefix)
    return OpenVinoEmbedder(model, models_folder, settings.threads)


def open_sentence_transformer(settings: EmbeddingSettings, models_folder: Path) -> Embedder:
    from ckllm.embedding.sentence_transformers import SentenceTransformerEmbedder

    model, name = settings.model, ""
    if model in MODELS:
        model, name = str(prepare(MODELS[model], models_folder)), model
    return SentenceTransformerEmbedder(model, name, settings.query_prefix, settings.passage_prefix, settings.threads)


def open_openai_compatible(settings: EmbeddingSettings, _models_folder: Path) -> Embedder:
    from ckllm.embedding.openai_compatible import OpenAiCompatibleEmbedder

    return OpenAiCompatibleEmbedder(
        settings.base_url,
        settings.model,
        settings.api_key.get_secret_value(),
        (settings.query_prefix, settings.passage_prefix),
        settings.max_tokens,
        settings.tokenizer,
    )


def open_hashing(_settings: EmbeddingSettings, _models_folder: Path) -> Embedder:
    from ckllm.embedding.hashing import HashingEmbedder

    return HashingEmbedder()
