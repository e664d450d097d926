"""How a server is told which adapters answer a request: vLLM offers each as a model, llama.cpp takes a scale for each.

vLLM (`--enable-lora --lora-modules NAME=FOLDER`) lists NAME among its models. llama.cpp (`--lora FILE`) lists numbers and paths
at `/lora-adapters` and takes `"lora": [{"id", "scale"}]` in a request, so it also mixes; there, FILE's stem is the expert's name.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import httpx

from ckllm.errors import UpstreamError, UsageError


class ServerAdapters:
    """The adapters of one server. Which number an adapter has is asked before every request that names one: a server that was
    started again may count them otherwise. A model's name is asked for once, since a server refuses one that it has not."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        """`url` ends in `/v1`."""
        self._client, self._url = client, url
        self._models: frozenset[str] = frozenset()
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def fields(self, model: str, adapters: Mapping[str, float]) -> dict[str, Any]:
        """What goes into a request's body for a mixture; `model` is the base model's name.

        UsageError for an adapter that the server does not have, or a mixture that it cannot make.
        """
        chosen = {name: weight for name, weight in adapters.items() if weight}
        if not chosen:
            return {"model": model}
        with self._lock:
            if not set(chosen) <= self._models:
                self._look()
        if not self._known(chosen):
            missing = next(name for name in chosen if name not in self._models and name not in self._numbers)
            known = ", ".join(sorted({*self._models, *self._numbers})) or "none"
            raise UsageError(f"the server at {self._url} has no adapter {missing!r} (it has {known}): start it with that adapter")
        if set(chosen) <= set(self._numbers):
            return {"model": model, "lora": [{"id": self._numbers[name], "scale": scale} for name, scale in chosen.items()]}
        [name, *others] = chosen
        if others or chosen[name] != 1:
            raise UsageError("this server applies one adapter with weight 1: choose one expert, or an engine that mixes them")
        return {"model": name}

    def _known(self, names: Mapping[str, float]) -> bool:
        return set(names) <= self._models or set(names) <= set(self._numbers)

    def _look(self) -> None:
        root = self._url.removesuffix("/v1")
        numbered = self._rows(f"{root}/lora-adapters", optional=True)
        self._numbers = {
            PurePath(row["path"]).stem: row["id"]
            for row in numbered
            if isinstance(row.get("path"), str) and isinstance(row.get("id"), int)
        }
        self._models = frozenset(str(row["id"]) for row in self._rows(f"{self._url}/models") if "id" in row)

    def _rows(self, url: str, *, optional: bool = False) -> list[dict[str, Any]]:
        """The objects of a listing; none where the server does not have an optional one."""
        try:
            answer = self._client.get(url)
            if optional and not answer.is_success:
                return []
            found = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise UpstreamError(f"{url} did not say which adapters there are: {error}") from error
        listed = found.get("data") if isinstance(found, dict) and not optional else found
        return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
