"""A trained router on disk: `router.json` (what it is, figures, the hash of the weights) and `router.npz` (plain arrays, no
pickle)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np

from ckllm.errors import DataError
from ckllm.experts.routers.centroid import CentroidScorer
from ckllm.experts.routers.head import HeadScorer
from ckllm.experts.routers.nearest import NearestScorer

FORMAT = 2
TrainedScorer: TypeAlias = HeadScorer | CentroidScorer | NearestScorer
SCORERS: Mapping[str, type[TrainedScorer]] = {"head": HeadScorer, "centroid": CentroidScorer, "nearest": NearestScorer}
"""Strategies that are trained, and what keeps their arrays."""
CARD, WEIGHTS = "router.json", "router.npz"


@dataclass(frozen=True, slots=True)
class RouterFile:
    scorer: TrainedScorer
    threshold: float
    embedder: str
    """Name of the embedder whose vectors it was trained on."""
    data_sha256: str
    report: dict[str, Any]


def save_router(folder: Path, router: RouterFile) -> None:
    """Write both files; each appears whole or not at all, the card last."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **router.scorer.arrays())
    card = {
        "format": FORMAT,
        "strategy": router.scorer.strategy,
        "labels": list(router.scorer.labels),
        "temperature": router.scorer.temperature,
        "threshold": router.threshold,
        "embedder": router.embedder,
        "data_sha256": router.data_sha256,
        "weights_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "report": router.report,
    }
    _replace(folder / WEIGHTS, buffer.getvalue())
    _replace(folder / CARD, json.dumps(card, ensure_ascii=False).encode())


def has_router(folder: Path) -> bool:
    return (folder / CARD).is_file()


def load_router(folder: Path) -> RouterFile:
    """Read and verify. Raises DataError for a file that is missing, foreign, newer or changed since it was written."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS).read_bytes()
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"the router in {folder} cannot be read ({error}): train it again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT or card.get("strategy") not in SCORERS:
        raise DataError(f"{folder / CARD} is not a router of this version: train it again")
    if hashlib.sha256(data).hexdigest() != card.get("weights_sha256"):
        raise DataError(f"{folder / WEIGHTS} was changed since the router was saved: train it again, or restore the file")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            scorer = SCORERS[card["strategy"]].from_arrays(
                {name: arrays[name] for name in arrays.files}, card["labels"], float(card["temperature"])
            )
        return RouterFile(scorer, float(card["threshold"]), str(card["embedder"]), str(card["data_sha256"]), dict(card["report"]))
    except (KeyError, TypeError, ValueError, BadZipFile) as error:
        raise DataError(f"the router in {folder} is damaged ({error}): train it again") from error


def _replace(file: Path, data: bytes) -> None:
    new = file.with_name(file.name + ".new")
    new.write_bytes(data)
    new.replace(file)
