"""Where a training run's curve can be sent besides the terminal: Weights & Biases, trackio, TensorBoard, where installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ckllm.errors import UsageError
from ckllm.experts.training.loop import Progress

PROJECT = "ckllm"


class Tracker(Protocol):
    def log(self, at: Progress) -> None: ...

    def close(self) -> None: ...


def open_tracker(kind: str, run: str, folder: Path, options: Mapping[str, Any]) -> Tracker:
    """Begin a run called `run`; files go into `folder`. Raises UsageError for an unknown kind or a package that is missing."""
    if kind not in _TRACKERS:
        raise UsageError(f"--log-to {kind}: give one of {', '.join(_TRACKERS)}")
    module, install, make = _TRACKERS[kind]
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise UsageError(f"--log-to {kind} needs a package that is not installed: pip install {install}") from None
    return make(found, run, folder, options)


def values(at: Progress) -> dict[str, float]:
    """What is sent of a step."""
    known = {"loss": at.loss}
    return known if at.validation_loss is None else known | {"validation_loss": at.validation_loss}


class _Run:
    """A run of Weights & Biases, or of trackio, which has the same functions."""

    def __init__(self, module: Any, run: str, folder: Path, options: Mapping[str, Any]) -> None:
        more = {"dir": str(folder)} if module.__name__ == "wandb" else {}
        self._module = module
        module.init(project=PROJECT, name=run, config=dict(options), **more)

    def log(self, at: Progress) -> None:
        self._module.log(values(at), step=at.step)

    def close(self) -> None:
        self._module.finish()


class _Board:
    """An event file of TensorBoard."""

    def __init__(self, module: Any, run: str, folder: Path, options: Mapping[str, Any]) -> None:
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))
        self._writer.add_text(run, str(dict(options)))

    def log(self, at: Progress) -> None:
        for name, value in values(at).items():
            self._writer.add_scalar(name, value, at.step)

    def close(self) -> None:
        self._writer.close()


_Maker = Callable[[Any, str, Path, Mapping[str, Any]], Tracker]
_TRACKERS: Mapping[str, tuple[str, str, _Maker]] = {
    "wandb": ("wandb", "wandb", _Run),
    "trackio": ("trackio", "trackio", _Run),
    "tensorboard": ("torch.utils.tensorboard", "tensorboard", _Board),
}
"""Kind → (module, what installs it, what opens a run)."""
