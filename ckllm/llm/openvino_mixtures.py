"""One pipeline for each mixture of adapters: what a request names is what it gets, and no other request can see it.

OpenVINO GenAI can also switch the adapters of one pipeline, but for all its requests at once, and its prefix cache does not know
which adapters a prefix was read with. Here mixtures share nothing, so requests with different ones run at the same time, and a
prefix is only ever reused by its own mixture. The price is memory, so few are kept open; the model without adapters is one of
them, and like the others it is opened when it is first asked for.

An adapter is applied beside the projections, W x + the sum of weight_i * scale_i * B_i A_i x: the exact weighted sum.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ckllm.errors import DataError
from ckllm.llm.continuous_batch import ContinuousBatch
from ckllm.llm.local import adapter_digest
from ckllm.llm.peft_folder import WEIGHTS, adapter_config, scaling

MOST_OPEN = 3
"""Pipelines kept; one that is at work is never closed."""
_PREFIX = "base_model.model."

Mixture: TypeAlias = tuple[tuple[str, str, float], ...]
"""(folder, digest of its files, weight) by folder."""


@dataclass(slots=True)
class _Opened:
    batch: ContinuousBatch
    users: int = 0


class Mixtures:
    """Opens, lends and closes pipelines. Safe to use from several threads."""

    def __init__(self, graph: Path, open_pipeline: Callable[[Any], ContinuousBatch], most_open: int = MOST_OPEN) -> None:
        """`open_pipeline` is given an `openvino_genai.AdapterConfig`, or None for the model as it is."""
        self._graph, self._open, self._most = graph, open_pipeline, most_open
        self._opened: OrderedDict[Mixture, _Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._projections: dict[str, tuple[int, int]] | None = None

    @contextmanager
    def lent(self, adapters: Mapping[str, float]) -> Iterator[ContinuousBatch]:
        """The pipeline of a mixture (folder → weight), for one request. DataError for an adapter that does not fit the model."""
        mixture = tuple(sorted((folder, adapter_digest(Path(folder)), weight) for folder, weight in adapters.items() if weight))
        with self._lock:
            if mixture not in self._opened:
                self._make_room()
                self._opened[mixture] = _Opened(self._open(self._config(mixture)))
            self._opened.move_to_end(mixture)
            opened = self._opened[mixture]
            opened.users += 1
        try:
            yield opened.batch
        finally:
            with self._lock:
                opened.users -= 1

    @property
    def active(self) -> int:
        """Generations under way."""
        with self._lock:
            return sum(opened.batch.active for opened in self._opened.values())

    @property
    def open(self) -> int:
        """Pipelines in memory."""
        return len(self._opened)

    def close(self) -> None:
        with self._lock:
            for opened in self._opened.values():
                opened.batch.close()
            self._opened.clear()

    def _make_room(self) -> None:
        idle = [mixture for mixture, opened in self._opened.items() if not opened.users]
        for mixture in idle[: max(0, len(self._opened) - self._most + 1)]:
            self._opened.pop(mixture).batch.close()

    def _config(self, mixture: Mixture) -> Any:
        import openvino_genai

        if not mixture:
            return None
        for folder, _, _ in mixture:
            self._check_fit(Path(folder))
        scaled = [
            (openvino_genai.Adapter(str(Path(folder) / WEIGHTS)), weight * scaling(Path(folder))) for folder, _, weight in mixture
        ]
        return openvino_genai.AdapterConfig(scaled, openvino_genai.AdapterConfig.Mode.MODE_STATIC)

    def _check_fit(self, folder: Path) -> None:
        """OpenVINO leaves out, without an error, what it finds no place for."""
        from safetensors import SafetensorError, safe_open

        if self._projections is None:
            self._projections = _projections(self._graph)
        try:
            with safe_open(folder / WEIGHTS, "numpy") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise DataError(f"the adapter {folder} cannot be read: {error}") from None
        rank = int(adapter_config(folder)["r"])
        for name, shape in shapes.items():
            module, _, factor = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".lora_")
            rows, columns = self._projections.get(module, (0, 0))
            if shape != ((rank, columns) if factor == "A" else (rows, rank)):
                raise DataError(f"the adapter {folder} does not fit this model: {name} of shape {shape} has no place in it")


def _projections(graph: Path) -> dict[str, tuple[int, int]]:
    """(rows, columns) of every linear layer of the graph that an adapter can name, by PyTorch's name of it."""
    import openvino as ov

    found = {}
    for node in ov.Core().read_model(graph).get_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "MatMul" and name.startswith("__module."):
            rows, columns = node.input(1).get_shape()
            found[name.removeprefix("__module.").removesuffix("/aten::linear/MatMul")] = (rows, columns)
    return found
