"""The embedding tables of a BERT model, mapped from its file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class EmbeddingTables:
    """Word, position and type embeddings out of a safetensors file. Only the rows that are looked up are read, so that a
    vocabulary of 250,000 words costs neither time nor memory."""

    def __init__(self, file: Path) -> None:
        names = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
        words, positions, types = (_mapped(file, name) for name in names)
        self._words = words
        self._places = np.asarray(positions, np.float32) + np.asarray(types[0], np.float32)
        self.width = int(words.shape[1])

    def inputs(self, batch: list[list[int]]) -> dict[str, NDArray[np.float32]]:
        """A graph's inputs for token ids: `embedded` (texts, tokens, width) and `mask` (texts, tokens)."""
        longest = max(len(ids) for ids in batch)
        embedded = np.zeros((len(batch), longest, self.width), np.float32)
        mask = np.zeros((len(batch), longest), np.float32)
        for row, ids in enumerate(batch):
            embedded[row, : len(ids)] = self._words[ids]
            embedded[row, : len(ids)] += self._places[: len(ids)]
            mask[row, : len(ids)] = 1
        return {"embedded": embedded, "mask": mask}


def _mapped(file: Path, name: str) -> NDArray[Any]:
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        entry = json.loads(stream.read(size))[name]
    kind = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
    return np.memmap(file, kind, "r", offset=8 + size + entry["data_offsets"][0], shape=tuple(entry["shape"]))
