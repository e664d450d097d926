"""Multinomial logistic regression on dense and hashed features: L-BFGS in torch to fit, numpy to score."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ckllm.experts.routers.features import NGrams

if TYPE_CHECKING:
    import torch

STRENGTH = 10.0
"""C: how much the data counts against the penalty on large weights."""
ITERATIONS = 80
PARALLEL = 100_000_000
"""Multiplications of one pass from which several threads pay."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Weights of a layer that is linear in dense and hashed features: alone, with softmax, a logistic regression."""

    dense: NDArray[np.float32]
    """(dimension, classes)"""
    hashed: NDArray[np.float32]
    """(buckets in use, classes)"""
    place: NDArray[np.int32]
    """(BUCKETS,) row of `hashed` for each bucket, the last row (all zero) for one that training never saw."""
    bias: NDArray[np.float32]
    """(classes,)"""

    def logits(self, dense: NDArray[np.float32], ngrams: NGrams) -> NDArray[np.float64]:
        """(questions, classes)"""
        result = np.asarray(dense @ self.dense + self.bias, np.float64)
        for row in range(ngrams.rows):
            part = slice(int(ngrams.starts[row]), int(ngrams.starts[row + 1]))
            result[row] += ngrams.values[part] @ self.hashed[self.place[ngrams.columns[part]]]
        return result


def fit(dense: NDArray[np.float32], ngrams: NGrams, classes: NDArray[np.int64], count: int, buckets: int) -> Linear:
    """Minimise C · cross-entropy + half the squared weights. `classes` (questions,) in 0 … count - 1."""
    import torch

    used, columns = np.unique(ngrams.columns, return_inverse=True)
    inside = torch.from_numpy(np.ascontiguousarray(dense))
    forward, backward = _sparse(ngrams, columns, max(1, len(used)))
    target = torch.from_numpy(classes)
    weights = [torch.zeros(dense.shape[1], count), torch.zeros(max(1, len(used)), count), torch.zeros(count)]
    scale = 1.0 / (STRENGTH * len(dense))

    def closure() -> float:
        logits = inside @ weights[0] + forward @ weights[1] + weights[2]
        logs = torch.log_softmax(logits, dim=1)
        error = logs.exp()
        error[torch.arange(len(target)), target] -= 1
        error /= len(target)
        weights[0].grad = inside.T @ error + scale * weights[0]
        weights[1].grad = backward @ error + scale * weights[1]
        weights[2].grad = error.sum(dim=0)
        penalty = 0.5 * scale * (weights[0].square().sum() + weights[1].square().sum())
        return float(-logs[torch.arange(len(target)), target].mean() + penalty)

    with _few_threads(len(ngrams.values) * count), torch.no_grad():
        optimiser = torch.optim.LBFGS(
            weights, max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-6
        )
        optimiser.step(closure)
    hashed, place = hashed_place(weights[1].numpy(), used, buckets)
    return Linear(weights[0].numpy(), hashed, place, weights[2].numpy())


def hashed_place(
    weights: NDArray[np.float32], used: NDArray[np.int64], buckets: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """`Linear.hashed` and `Linear.place` of the weights (buckets in use, classes) of the buckets `used`."""
    place = np.full(buckets, len(used), np.int32)
    place[used] = np.arange(len(used))
    return np.vstack([weights[: len(used)], np.zeros((1, weights.shape[1]), np.float32)]), place


@contextmanager
def _few_threads(work: int) -> Iterator[None]:
    """One thread for small problems: there, threads spend their time waiting for each other."""
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if work < PARALLEL else before)
        yield
    finally:
        torch.set_num_threads(before)


def _sparse(ngrams: NGrams, columns: NDArray[np.int64], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The n-grams as a sparse matrix (questions, buckets in use), and its transpose, both in row order."""
    import torch

    def matrix(
        rows: NDArray[np.int64], across: NDArray[np.int64], values: NDArray[np.float32], shape: tuple[int, int]
    ) -> torch.Tensor:
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
        return torch.sparse_csr_tensor(
            torch.from_numpy(starts), torch.from_numpy(across), torch.from_numpy(values), shape, check_invariants=True
        )

    rows, height = ngrams.row_numbers, ngrams.rows
    by_row, by_column = np.lexsort((columns, rows)), np.lexsort((rows, columns))
    with warnings.catch_warnings():
        # The layout is "in beta"; the coordinate layout is not, and ten times slower.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return (
            matrix(rows[by_row], columns[by_row], ngrams.values[by_row], (height, width)),
            matrix(columns[by_column], rows[by_column], ngrams.values[by_column], (width, height)),
        )
