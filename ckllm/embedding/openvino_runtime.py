"""Computes the bundled models with OpenVINO: fast on a CPU, ready in well under a second, no torch."""

from __future__ import annotations

import json
import math
import os
import queue
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.bundled import GRAPH, WEIGHTS, BundledModel, discard, prepare
from ckllm.embedding.limits import refuse_long_passages
from ckllm.embedding.tokens import load_tokenizer, token_ids
from ckllm.errors import DataError, UpstreamError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_TOKENS = 1024
"""Padded tokens in one batch; more gains nothing on a CPU and costs memory."""
SPARE_TOKENS = 2
"""Taken off the limit: a prefix may make one more token of the text's first word than the text alone has."""
_IN_FLIGHT = 2
"""One batch computes while the next is being prepared."""


class OpenVinoEmbedder:
    """A bundled model. A passage above `max_tokens` is refused with DataError; a longer query is cut to the limit.

    The name is the model's alone: what sentence-transformers computes of the same model can be compared with it
    (cosine above 0.99 for the same text). Can be used by several threads.
    """

    def __init__(self, model: BundledModel, models_folder: Path, threads: int = 0) -> None:
        folder = prepare(model, models_folder)
        try:
            self._encoder = _compile(folder / GRAPH, threads)
            self._tables = _EmbeddingTables(folder / WEIGHTS)
            self._tokenizer: Tokenizer = load_tokenizer(folder / "tokenizer.json")
        except (RuntimeError, ValueError, KeyError, DataError) as error:
            discard(folder)
            raise UpstreamError(f"the converted model in {folder} is damaged and is made anew next time: {error}") from None
        self._model = model
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._prefixes = {"query": model.query_prefix, "passage": model.passage_prefix}
        fixed = max(len(ids) for ids in token_ids(self._tokenizer, list(self._prefixes.values()), special=True))
        self._max_tokens = model.positions - fixed - SPARE_TOKENS

    @property
    def name(self) -> str:
        return self._model.identity or self._model.name

    @property
    def dimension(self) -> int:
        return self._tables.width

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in token_ids(self._tokenizer, texts, special=False)]

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        prefix = self._prefixes[purpose]
        inputs = token_ids(self._tokenizer, [prefix + text for text in texts], special=True)
        limit = self._model.positions
        if purpose == "passage":
            refuse_long_passages([len(ids) for ids in inputs], limit, self.name)
        inputs = [ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]] for ids in inputs]
        vectors = np.empty((len(inputs), self.dimension), np.float32)
        self._run(inputs, vectors)
        return vectors

    def _run(self, inputs: list[list[int]], vectors: Vectors) -> None:
        running: list[tuple[Any, list[int]]] = []
        for batch in batches([len(ids) for ids in inputs], BATCH_TOKENS):
            if len(running) == _IN_FLIGHT:
                self._finish(*running.pop(0), vectors)
            request = self._request()
            request.start_async(self._tables.inputs([inputs[index] for index in batch]), share_inputs=True)
            running.append((request, batch))
        for request, batch in running:
            self._finish(request, batch, vectors)

    def _finish(self, request: Any, batch: list[int], vectors: Vectors) -> None:
        request.wait()
        vectors[batch] = request.get_output_tensor(0).data
        self._requests.put(request)

    def _request(self) -> Any:
        try:
            return self._requests.get_nowait()
        except queue.Empty:
            return self._encoder.create_infer_request()


def batches(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Indices grouped by similar length, longest first, each group at most `limit` tokens when padded (or one text)."""
    groups: list[list[int]] = []
    longest = math.inf
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not groups or (len(groups[-1]) + 1) * longest > limit:
            groups.append([])
            longest = max(lengths[index], 1)
        groups[-1].append(index)
    return groups


class _EmbeddingTables:
    """Word, position and type embeddings, mapped from a safetensors file: only the rows that are looked up are read."""

    def __init__(self, file: Path) -> None:
        names = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
        words, positions, types = (_mapped(file, name) for name in names)
        self._words = words
        self._places = np.asarray(positions, np.float32) + np.asarray(types[0], np.float32)
        self.width = int(words.shape[1])

    def inputs(self, batch: list[list[int]]) -> dict[str, NDArray[np.float32]]:
        """The graph's inputs `embedded` (texts, tokens, width) and `mask` (texts, tokens)."""
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


def _compile(graph: Path, threads: int) -> Any:
    import openvino as ov

    options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1}
    return ov.Core().compile_model(graph, "CPU", options)
