"""A perceptron with one hidden layer on the features of the logistic regression: scikit-learn to fit, numpy to score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.experts.routers.features import NGrams
from ckllm.experts.routers.logistic import Linear, hashed_place

HIDDEN = 64
"""Units of one network."""
SEEDS = 1
"""Networks that are averaged. Three of them cost three times as much and were no better."""
PENALTY = 0.3
"""scikit-learn's alpha: how much large weights cost."""
EPOCHS = 15
RATE = 3e-3
"""Adam's step."""


@dataclass(frozen=True, slots=True)
class Perceptron:
    """softmax(relu(x · hidden) · out + bias). Averaged networks stand beside each other in the hidden layer."""

    hidden: Linear
    out: NDArray[np.float32]
    """(units, classes)"""
    bias: NDArray[np.float32]
    """(classes,)"""

    def logits(self, dense: NDArray[np.float32], ngrams: NGrams) -> NDArray[np.float64]:
        """(questions, classes)"""
        return np.asarray(np.maximum(self.hidden.logits(dense, ngrams), 0) @ self.out + self.bias, np.float64)


def fit(
    dense: NDArray[np.float32], ngrams: NGrams, classes: NDArray[np.int64], count: int, buckets: int, seed: int = 0
) -> Perceptron:
    """Minimise cross-entropy with Adam, SEEDS times. `classes` (questions,) holds each of 0 … count - 1 at least once."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    used, columns = np.unique(ngrams.columns, return_inverse=True)
    sparse = csr_matrix((ngrams.values, columns, ngrams.starts), shape=(ngrams.rows, max(1, len(used))))
    inputs, width = hstack([csr_matrix(dense), sparse], format="csr"), dense.shape[1]
    entered, hidden_bias, out, bias = [], [], [], []
    for number in range(SEEDS):
        model = MLPClassifier((HIDDEN,), alpha=PENALTY, learning_rate_init=RATE, max_iter=EPOCHS, random_state=seed + number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen: more of them learn by heart
            model.fit(inputs, classes)
        last, last_bias = model.coefs_[1], model.intercepts_[1]
        if count == 2:  # scikit-learn has one output for two classes: the logit of the second
            last, last_bias = np.hstack([0 * last, last]), np.append(0 * last_bias, last_bias)
        entered.append(model.coefs_[0])
        hidden_bias.append(model.intercepts_[0])
        out.append(last / SEEDS)
        bias.append(last_bias / SEEDS)
    weights = np.hstack(entered).astype(np.float32)
    hashed, place = hashed_place(weights[width:], used, buckets)
    hidden = Linear(weights[:width], hashed, place, np.concatenate(hidden_bias).astype(np.float32))
    return Perceptron(hidden, np.vstack(out).astype(np.float32), np.sum(bias, axis=0).astype(np.float32))
