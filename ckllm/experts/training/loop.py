"""The training loop.

An own loop rather than transformers' Trainer: Trainer computes one padded row a prompt, logits for every token, and knows
neither shared prefixes nor weights of examples. On questions that share their passages this loop comes to the same loss in a
fraction of the time and memory (`benchmarks/trainers.py` measures it), and a run that was killed resumes to the same weights,
bit for bit, as Trainer's does.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckllm.contracts import digest
from ckllm.errors import DataError
from ckllm.experts.training import checkpoint
from ckllm.experts.training.loss import answer_losses
from ckllm.experts.training.packing import Example, Pack, pack


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How an adapter is trained. The defaults suit a model of a few hundred million parameters."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 5e-4
    epochs: int = 3
    most_steps: int = 0
    """Optimiser steps after which the run ends, whatever the epochs; 0: no limit."""
    pack_tokens: int = 1280
    """Tokens of one packed sequence."""
    packs_per_step: int = 2
    max_tokens: int = 2048
    """Rows above this are left out."""
    warm_up: float = 0.05
    """Share of the steps."""
    max_gradient_norm: float = 1.0
    evaluate_every: int = 40
    """Steps between validations; each is followed by a checkpoint."""
    checkpoint_every: int = 10
    """Steps between checkpoints."""
    patience: int = 4
    """Validations without a better loss before the run ends."""
    seed: int = 0
    quantisation: str = "none"
    """none, or 4bit: QLoRA, on a GPU."""
    first_layer: int = 0
    """Blocks below it get no adapter: nothing is propagated back through them, and the adapter is smaller."""


@dataclass(frozen=True, slots=True)
class Progress:
    step: int
    steps: int
    loss: float
    """Mean negative log-likelihood of an answer token over the last step, in nats."""
    validation_loss: float | None
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Weights of the best validation are in the model."""

    steps: int
    best_step: int
    best_validation_loss: float
    curve: tuple[tuple[int, float, float], ...]
    """(step, training loss since the last validation, validation loss)."""
    tokens: int
    """Packed tokens a pass."""
    unpacked_tokens: int
    """Tokens of a pass without shared prefixes."""


def mean_loss(model: Any, packs: Sequence[Pack], device: str = "cpu") -> float:
    """Weighted mean over the answer tokens of all packs."""
    import torch

    total = 0.0
    with torch.no_grad():
        for one in packs:
            losses, weights = answer_losses(model, one, device)
            total += float((losses * weights).sum())
    return total / sum(one.weight for one in packs)


class Trainer:
    """Trains the parameters of `model` that require gradients. One object a run."""

    def __init__(self, model: Any, folder: Path, options: TrainingOptions, device: str = "cpu", base: str = "") -> None:
        """`base` identifies the model under the adapter: a checkpoint of another one is refused."""
        import torch

        self._base = base
        self._model, self._folder, self._options, self._device = model, folder / "checkpoint", options, device
        self._parameters = list(checkpoint.trainable(model).values())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=options.learning_rate, weight_decay=0.0)

    def run(
        self, training: Sequence[Example], validation: Sequence[Example], progress: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Train to the end, to early stopping, or on from the folder's checkpoint.

        Raises DataError for no examples, or for a checkpoint of another run.
        """
        options = self._options
        packs, held = pack(training, options.pack_tokens), pack(validation, options.pack_tokens)
        if not packs or not held:
            raise DataError("no examples are left to train or to validate with: give more rows, or raise max_tokens")
        steps = [step for epoch in range(options.epochs) for step in self._epoch(packs, epoch)]
        steps = steps[: options.most_steps or len(steps)]
        identity = self._identity(training, validation)
        state = checkpoint.load(self._folder, self._model, self._optimizer, identity) or {
            "run": identity, "step": 0, "best_step": 0, "best": math.inf, "curve": [], "recent": [], "stopped": False,
        }  # fmt: skip
        started, first = time.monotonic(), state["step"]
        while state["step"] < len(steps) and not state["stopped"]:
            loss = self._step(steps[state["step"]], state["step"], len(steps))
            state["step"] += 1
            state["recent"].append(loss)
            validated = None
            if state["step"] % options.evaluate_every == 0 or state["step"] == len(steps):
                validated = self._validate(held, state)
            elif state["step"] % options.checkpoint_every == 0:
                checkpoint.save(self._folder, self._model, self._optimizer, state)
            if progress is not None:
                pace = (time.monotonic() - started) / (state["step"] - first)
                progress(Progress(state["step"], len(steps), loss, validated, pace * (len(steps) - state["step"])))
        self._restore_best()
        return Outcome(
            steps=state["step"],
            best_step=state["best_step"],
            best_validation_loss=state["best"],
            curve=tuple((int(at), float(train), float(valid)) for at, train, valid in state["curve"]),
            tokens=sum(one.size for one in packs),
            unpacked_tokens=sum(len(example.tokens) for example in training),
        )

    def _epoch(self, packs: Sequence[Pack], epoch: int) -> list[list[Pack]]:
        order = list(packs)
        random.Random(f"{self._options.seed}/{epoch}").shuffle(order)  # noqa: S311 - an order, not a secret
        size = self._options.packs_per_step
        return [order[at : at + size] for at in range(0, len(order), size)]

    def _step(self, packs: Sequence[Pack], step: int, steps: int) -> float:
        """One optimiser step over all the packs' answer tokens; their weighted mean loss."""
        import torch

        options = self._options
        torch.manual_seed(options.seed * 1_000_003 + step)
        for group in self._optimizer.param_groups:
            group["lr"] = options.learning_rate * schedule(step, steps, options.warm_up)
        self._model.train()
        self._optimizer.zero_grad(set_to_none=True)
        total, weight = 0.0, sum(one.weight for one in packs)
        for one in packs:
            losses, weights = answer_losses(self._model, one, self._device)
            loss = (losses * weights).sum() / weight
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._parameters, options.max_gradient_norm)
        self._optimizer.step()
        return total

    def _validate(self, held: Sequence[Pack], state: dict[str, Any]) -> float:
        """Note the validation loss, keep the best weights, decide on stopping, write the checkpoint."""
        self._model.eval()
        loss = mean_loss(self._model, held, self._device)
        state["curve"].append([state["step"], sum(state["recent"]) / len(state["recent"]), loss])
        state["recent"] = []
        if loss < state["best"]:
            state["best"], state["best_step"] = loss, state["step"]
            checkpoint.save(self._best, self._model, self._optimizer, {"run": state["run"], "step": state["step"]})
        behind = sum(1 for at, _, _ in state["curve"] if at > state["best_step"])
        state["stopped"] = behind >= self._options.patience
        checkpoint.save(self._folder, self._model, self._optimizer, state)
        return loss

    @property
    def _best(self) -> Path:
        return self._folder.with_name("best")

    def _restore_best(self) -> None:
        state = checkpoint.load(self._best, self._model, self._optimizer, self._run)
        if state is None:
            raise DataError(f"{self._best} is gone: the best weights of this run cannot be put back")
        self._model.eval()

    def _identity(self, training: Sequence[Example], validation: Sequence[Example]) -> str:
        parts = [f"{e.tokens}{e.answer_start}{e.weight}" for e in (*training, *validation)]
        self._run = digest(self._base, str(asdict(self._options)), str(len(training)), *parts)
        return self._run


def schedule(step: int, steps: int, warm_up: float) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to a tenth."""
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return (step + 1) / rising
    return 0.55 + 0.45 * math.cos(math.pi * (step - rising) / max(1, steps - rising))
