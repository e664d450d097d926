"""Training examples as one sequence of shared prefix and isolated branches.

Questions about the same passages begin with the same tokens. A pack holds that prefix once and, after it, one branch an
example; an attention mask keeps the branches from seeing each other, and positions go on after the prefix in each of them, so
that every example is computed as if it were alone (tree attention, as in SpecInfer, Miao et al. 2024, turned to training).
There is no padding: what is in a pack is read, and what is not an answer is not in the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of prompt and answer; the loss is on `tokens[answer_start:]` alone."""

    tokens: tuple[int, ...]
    answer_start: int
    weight: float = 1.0
    source: str = ""
    """Document that it was made from: what splits go by."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Examples and the length of the prefix that they share."""

    examples: tuple[Example, ...]
    prefix: int

    @property
    def size(self) -> int:
        """Tokens of the packed sequence."""
        return self.prefix + sum(len(example.tokens) - self.prefix for example in self.examples)

    @property
    def weight(self) -> float:
        """Sum over answer tokens of their examples' weights: what the loss is divided by."""
        return sum(example.weight * (len(example.tokens) - example.answer_start) for example in self.examples)


@dataclass(frozen=True, slots=True)
class PackTensors:
    """A pack as the model takes it."""

    tokens: torch.Tensor
    """(1, size) int64."""
    positions: torch.Tensor
    """(1, size) int64."""
    visible: torch.Tensor
    """(1, 1, size, size) bool: whether the row's token sees the column's."""
    predictors: torch.Tensor
    """(answer tokens,) index of the token whose output predicts each answer token."""
    targets: torch.Tensor
    """(answer tokens,) int64."""
    weights: torch.Tensor
    """(answer tokens,) float32."""


def pack(examples: Iterable[Example], max_tokens: int) -> list[Pack]:
    """Put examples together that share a beginning, up to `max_tokens` a pack (a longer example is a pack of its own).

    Greedy over the examples in token order; an example joins where that costs no more tokens than a new pack would.
    """
    packs: list[Pack] = []
    current: list[Example] = []
    shared = 0
    for example in sorted(examples, key=lambda e: e.tokens):
        if not current:
            current, shared = [example], _longest(example)
            continue
        common = min(shared, _common(current[-1].tokens, example.tokens), _longest(example))
        joined, before = Pack((*current, example), common), Pack(tuple(current), shared)
        if joined.size <= max_tokens and joined.size - before.size <= len(example.tokens):
            current.append(example)
            shared = common
        else:
            packs.append(before)
            current, shared = [example], _longest(example)
    return [*packs, Pack(tuple(current), shared)] if current else packs


def tensors(one: Pack, device: str = "cpu") -> PackTensors:
    """The pack's arrays. Prefix tokens see what is before them, branch tokens it and their own branch up to themselves."""
    import torch

    prefix = one.prefix
    tokens = list(one.examples[0].tokens[:prefix])
    positions = list(range(prefix))
    branch = [0] * prefix
    predictors: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for number, example in enumerate(one.examples, start=1):
        offset = len(tokens) - prefix
        tokens += example.tokens[prefix:]
        positions += range(prefix, len(example.tokens))
        branch += [number] * (len(example.tokens) - prefix)
        for at in range(example.answer_start, len(example.tokens)):
            predictors.append(at - 1 + (offset if at - 1 >= prefix else 0))
            targets.append(example.tokens[at])
            weights.append(example.weight)
    size = len(tokens)
    of = torch.tensor(branch)
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    visible = causal & ((of[:, None] == of[None, :]) | (of[None, :] == 0))
    return PackTensors(
        tokens=torch.tensor([tokens], device=device),
        positions=torch.tensor([positions], device=device),
        visible=visible[None, None].to(device),
        predictors=torch.tensor(predictors, device=device),
        targets=torch.tensor(targets, device=device),
        weights=torch.tensor(weights, dtype=torch.float32, device=device),
    )


def _longest(example: Example) -> int:
    """The most of an example that may be shared: answers always stand in a branch."""
    return example.answer_start


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning."""
    for at, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return at
    return min(len(first), len(second))
