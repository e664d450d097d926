"""What a person asks for with `experts train`, and the rows that come of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ckllm.errors import DataError, UsageError
from ckllm.experts.training.data import Passage, cloze_rows, heading_rows
from ckllm.experts.training.loop import TrainingOptions
from ckllm.experts.training.rows import Row


@dataclass(frozen=True, slots=True)
class Plan:
    """An expert to train. Exactly one of `data` and `collection` is given."""

    name: str
    data: Path | None = None
    collection: str = ""
    base: str = ""
    """As in `llm.model`; "": that of the settings."""
    options: TrainingOptions = field(default_factory=TrainingOptions)
    description: str = ""
    licence: str = ""
    command: str = ""
    device: str = "cpu"
    log_to: str = ""
    restart: bool = False
    """Forget what a run of this name that was stopped has done."""
    score_rows: int = 100
    """Held-out rows that expert and base model answer in the end; 0: the loss alone is compared."""
    open_only: bool = False
    """Of a collection, only documents that everybody may see: what an expert has learnt, everybody may ask it."""

    def __post_init__(self) -> None:
        if (self.data is None) == (not self.collection):
            raise UsageError("give either --data FILE or --collection NAME")


def rows_of_passages(passages: Sequence[Passage], seed: int = 0) -> tuple[list[Row], str]:
    """Cloze and heading questions over passages, and the SHA-256 of these rows.

    Raises DataError where they hold no sentence that a question can be made of.
    """
    rows = [*cloze_rows(passages, seed=seed), *heading_rows(passages, seed=seed)]
    if not rows:
        raise DataError("no question can be made of these documents: ingest some with whole sentences")
    return rows, sha256_of(rows)


def sha256_of(rows: Sequence[Row]) -> str:
    text = "".join(json.dumps(row.as_json(), ensure_ascii=False) + "\n" for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
