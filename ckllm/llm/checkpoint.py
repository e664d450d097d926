"""A model's state as an atomic JSON file: parameters, history, random state, identity of model and adapters."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckllm.contracts import Message
from ckllm.errors import CkllmError, DataError
from ckllm.llm.parameters import RULES, checked

FORMAT = "ckllm.llm.checkpoint"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in use: its weight, and what its files hash to ("" where they cannot be seen)."""

    weight: float
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    engine: str
    model_id: str
    parameters: Mapping[str, Any]
    history: tuple[Message, ...]
    random_state: tuple[Any, ...]
    """Of `random.Random.getstate`."""
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    plain_parameters: Mapping[str, Any] | None = None
    """What creative mode gives back when it is switched off; None while it is off."""


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file whole or not at all. Raises DataError where the folder cannot be written."""
    version, state, gauss = checkpoint.random_state
    content = {
        "format": FORMAT,
        "version": VERSION,
        "engine": checkpoint.engine,
        "model_id": checkpoint.model_id,
        "parameters": dict(checkpoint.parameters),
        "plain_parameters": None if checkpoint.plain_parameters is None else dict(checkpoint.plain_parameters),
        "history": [{"role": message.role, "content": message.content} for message in checkpoint.history],
        "random_state": [version, list(state), gauss],
        "adapters": {name: {"weight": a.weight, "identity": a.identity} for name, a in checkpoint.adapters.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=False, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load(path: Path) -> Checkpoint:
    """Read a file that `save` wrote. Raises DataError for a missing, foreign, newer or damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a checkpoint of ckllm: not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not a checkpoint of ckllm: its format is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise DataError(f"{path} is a checkpoint of version {content.get('version')!r}; this ckllm reads version {VERSION}")
    try:
        return _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError, CkllmError) as error:
        raise DataError(f"the checkpoint {path} is damaged: {error}") from None


def _parse(content: Mapping[str, Any]) -> Checkpoint:
    version, state, gauss = content["random_state"]
    plain = content["plain_parameters"]
    return Checkpoint(
        engine=str(content["engine"]),
        model_id=str(content["model_id"]),
        parameters=_parameters(content["parameters"]),
        history=tuple(_message(row) for row in content["history"]),
        random_state=(version, tuple(state), gauss),
        adapters={str(k): Adapter(float(v["weight"]), str(v["identity"])) for k, v in content["adapters"].items()},
        plain_parameters=None if plain is None else _parameters(plain, some=True),
    )


def _parameters(values: Mapping[str, Any], some: bool = False) -> dict[str, Any]:
    missing = set() if some else set(RULES) - set(values)
    if missing:
        raise ValueError(f"parameter {min(missing)!r} is missing")
    return checked(values)


def _message(row: Mapping[str, Any]) -> Message:
    role, content = row["role"], row["content"]
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise ValueError(f"a message has the role {role!r}")
    return Message(role, content)
