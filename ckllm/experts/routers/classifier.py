"""A router that is a transformers sequence classifier in a folder, as a collection of experts in Kraken's way has one.

Its labels are the experts' names (`id2label` of its config). Weights are read from safetensors only, and no code of the folder
is run. Without held-out questions there is nothing to calibrate on: the threshold comes from the settings.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm.contracts import Route
from ckllm.errors import DataError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.routers.measures import softmax
from ckllm.experts.routers.scoring import routes, routing_text
from ckllm.experts.routers.training import OUTSIDE

BATCH = 32
STRATEGY = "classifier"


class ClassifierRouter:
    """The model is loaded with the first question. Can be used by several threads; they take turns."""

    def __init__(self, folder: Path, threshold: float) -> None:
        """Raises DataError for a folder that is no sequence classifier with named labels."""
        self._folder, self._threshold = folder, threshold
        config = _config(folder)
        self._labels = _labels(config, folder)
        self._longest = int(config.get("max_position_embeddings") or 512)
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def route(self, requests: Sequence[RouteRequest]) -> list[Route]:
        if not requests:
            return []
        table = self.probabilities([routing_text(request) for request in requests])
        return routes(requests, self._labels, table, self._threshold, STRATEGY)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, labels), rows sum to 1."""
        import torch

        with self._lock, torch.inference_mode():
            if self._loaded is None:
                self._loaded = _load(self._folder)
            tokenizer, model = self._loaded
            found = []
            for at in range(0, len(texts), BATCH):
                part = list(texts[at : at + BATCH])
                inputs = tokenizer(part, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
                found.append(model(**inputs).logits.double().numpy())
        return softmax(np.concatenate(found))


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"routing.model = {folder} is no folder of a transformers classifier: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{folder / 'config.json'} is not the config of a model")
    return config


def _labels(config: dict[str, Any], folder: Path) -> tuple[str, ...]:
    named = config.get("id2label")
    names = [str(named[key]) for key in sorted(named, key=int)] if isinstance(named, dict) else []
    labels = tuple(BASE if name in OUTSIDE else name for name in names)
    if len(set(labels)) < 2 or len(set(labels)) < len(labels) or all(name.startswith("LABEL_") for name in labels):
        raise DataError(f"{folder / 'config.json'} must name an expert for each class in id2label, at least 2, each once")
    return labels


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **safe)
        model = AutoModelForSequenceClassification.from_pretrained(str(folder), use_safetensors=True, **safe)
    except (OSError, ValueError) as error:
        raise DataError(f"the classifier in {folder} cannot be loaded: {error}") from None
    return tokenizer, model.eval()
