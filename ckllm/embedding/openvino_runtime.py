"""Computes the bundled models with OpenVINO: fast on a CPU, ready in well under a second, no torch."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ckllm import light_imports
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.bundled import COMPILED, GRAPH, INT8_GRAPH, WEIGHTS, BundledModel
from ckllm.embedding.limits import refuse_long_passages
from ckllm.embedding.prepared import prepare
from ckllm.embedding.tables import EmbeddingTables
from ckllm.embedding.tokens import FullTokenizer, Tokens
from ckllm.embedding.unigram import QuickUnigram, has_table
from ckllm.errors import DataError, UpstreamError
from ckllm.made_folder import discard

BATCH_TOKENS = 1024
"""Padded tokens in one batch; more gains nothing on a CPU and costs memory."""
CALL_TOKENS = 32
"""Tokens whose computing takes about as long as what one more batch costs by itself."""
SPARE_TOKENS = 2
"""Taken off the limit: a prefix may make one more token of the text's first word than the text alone has."""
_IN_FLIGHT = 2
"""One batch computes while the next is being prepared."""
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


class PreparedTokenizer(Protocol):
    def token_ids(self, texts: Sequence[str], special: bool) -> list[list[int]]: ...

    def tokens(self, texts: Sequence[str]) -> list[Tokens]: ...


class OpenVinoEmbedder:
    """A bundled model. A passage above `max_tokens` is refused with DataError; a longer query is cut to the limit.

    The name is the model's alone: what sentence-transformers computes of the same model can be compared with it
    (cosine above 0.99 for the same text). Can be used by several threads.
    """

    def __init__(self, model: BundledModel, models_folder: Path, threads: int = 0, int8: bool | None = None) -> None:
        """`threads`: 0 for all cores; `int8`: None for what is faster on this processor."""
        folder = prepare(model, models_folder)
        try:
            self._encoder = _compile(folder, threads, has_int8_instructions() if int8 is None else int8)
            self._tables = EmbeddingTables(folder / WEIGHTS)
            self._tokenizer = open_tokenizer(folder)
        except (RuntimeError, ValueError, KeyError, DataError) as error:
            discard(folder)
            raise UpstreamError(f"the converted model in {folder} is damaged and is made anew next time: {error}") from None
        self._model = model
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._prefixes = {"query": model.query_prefix, "passage": model.passage_prefix}
        fixed = max(len(ids) for ids in self._tokenizer.token_ids(list(self._prefixes.values()), special=True))
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
        return [len(ids) for ids in self._tokenizer.token_ids(texts, special=False)]

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        prefix = self._prefixes[purpose]
        inputs = self._tokenizer.token_ids([prefix + text for text in texts], special=True)
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
    """Indices grouped by similar length, longest first, each group at most `limit` tokens when padded (or one text).

    A group ends where the texts to come would be padded with more than `CALL_TOKENS` in it.
    """
    groups: list[list[int]] = []
    longest = room = 0
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for at, index in enumerate(order):
        padding = (longest - lengths[index]) * min(room, len(order) - at)
        if not room or padding > CALL_TOKENS:
            groups.append([])
            longest = max(lengths[index], 1)
            room = max(limit // longest, 1)
        groups[-1].append(index)
        room -= 1
    return groups


def open_tokenizer(folder: Path) -> PreparedTokenizer:
    """The tokenizer of a converted folder."""
    tables = (folder / GRAPH).parent
    return QuickUnigram(tables) if has_table(tables) else FullTokenizer(folder / "tokenizer.json")


def _compile(folder: Path, threads: int, int8: bool) -> Any:
    return compile_graph(folder / (INT8_GRAPH if int8 and (folder / INT8_GRAPH).is_file() else GRAPH), folder / COMPILED, threads)


def compile_graph(graph: Path, kept_in: Path, threads: int = 0) -> Any:
    """The graph for this processor, compiled; the compiled form is kept, which halves the time that the next start takes.

    `threads`: 0 for all cores. RuntimeError where the graph is damaged.
    """
    ov = light_imports.openvino()

    options: dict[str, Any] = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads or _cores()}
    core = ov.Core()
    if os.access(graph.parent, os.W_OK):
        kept = {"CACHE_DIR": str(kept_in), "CACHE_MODE": "OPTIMIZE_SIZE"}
        # Where the compiled form cannot be read or written (a full disk), the graph itself decides whether all is well.
        with contextlib.suppress(RuntimeError):
            return core.compile_model(graph, "CPU", options | kept)
    return core.compile_model(graph, "CPU", options)


def _cores() -> int:
    """Those that this process may use, where the system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_int8_instructions(cpu_information: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether products of int8 are faster here than of float32: expected with AVX-512 VNNI, AVX-VNNI or AMX
    (not measured); with AVX2 alone they took a quarter to a third more. False where it cannot be told."""
    try:
        text = cpu_information.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not _INT8_FLAGS.isdisjoint(flags.split())
