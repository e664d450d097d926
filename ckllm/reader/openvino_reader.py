"""Reads passages with OpenVINO: the shipped reader on the processor, ready in about a second, no torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm.contracts import Hit
from ckllm.embedding.bundled import WEIGHTS, bundled_model
from ckllm.embedding.openvino_runtime import BATCH_TOKENS, batches, compile_graph, open_tokenizer
from ckllm.embedding.prepared import prepare as prepare_base
from ckllm.embedding.tables import EmbeddingTables
from ckllm.errors import UpstreamError
from ckllm.made_folder import discard
from ckllm.reader.adapter import BASE, COMPILED, GRAPH, SHIPPED, prepare
from ckllm.reader.base import Reading
from ckllm.reader.pairs import Pair, pair

REMEMBERED = 512
"""Readings that are kept, by question, title and text: a few kilobytes each."""

_Key = tuple[str, str, str]


class OpenVinoReader:
    """The adapter in `adapter` on the bundled model. Can be used by several threads."""

    def __init__(self, models_folder: Path, adapter: Path = SHIPPED, threads: int = 0) -> None:
        """`threads`: 0 for all cores."""
        base = prepare_base(bundled_model(BASE), models_folder)
        folder = prepare(adapter, base, models_folder)
        try:
            self._model = compile_graph(folder / GRAPH, folder / COMPILED, threads)
        except RuntimeError as error:
            discard(folder)
            raise UpstreamError(f"the converted reader in {folder} is damaged and is made anew next time: {error}") from None
        self._tables = EmbeddingTables(base / WEIGHTS)
        self._tokenizer = open_tokenizer(base)
        self._known: OrderedDict[_Key, Reading] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, question: str, hits: Sequence[Hit]) -> list[Reading]:
        keys = [(question, hit.title, hit.text) for hit in hits]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            found |= dict(zip(missing, self._read(missing), strict=True))
        with self._lock:
            for key in keys:
                self._known[key] = found[key]
                self._known.move_to_end(key)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return [found[key] for key in keys]

    def _read(self, keys: Sequence[_Key]) -> list[Reading]:
        texts = list(dict.fromkeys(text for key in keys for text in key))
        tokens = dict(zip(texts, self._tokenizer.tokens(texts), strict=True))
        pairs = [pair(tokens[question], tokens[title], tokens[text]) for question, title, text in keys]
        readings: dict[int, Reading] = {}
        for batch in batches([len(one.ids) for one in pairs], BATCH_TOKENS):
            request = self._model.create_infer_request()
            labels = request.infer(self._tables.inputs([pairs[n].ids for n in batch]), share_inputs=True)[0]
            readings |= {n: _reading(keys[n][2], pairs[n], row) for n, row in zip(batch, labels, strict=True)}
        return [readings[n] for n in range(len(pairs))]


def _reading(text: str, one: Pair, labels: NDArray[Any]) -> Reading:
    inside = np.array(labels[one.first : one.first + len(one.offsets)], np.float32)
    offsets = np.array([_without_space(text, *place) for place in one.offsets], np.int64).reshape(-1, 2)
    return Reading(offsets, inside[:, 0], inside[:, 1], inside[:, 2], float(labels[0, 0] + labels[0, 1]))


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    """A word's first token stands for the space before it too."""
    while start < end and text[start].isspace():
        start += 1
    return start, end
