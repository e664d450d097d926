"""A perceptron with one hidden layer on the features of the logistic regression: scikit-learn to fit, numpy to score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.experts.routers.features import NGrams
from ckllm.experts.routers.logistic import Linear, hashed_place

HIDDEN = 64
"""Units."""
PENALTY = 0.3
"""scikit-learn's alpha: how much large weights cost."""
EPOCHS = 15
RATE = 3e-3
"""Adam's step."""


@dataclass(frozen=True, slots=True)
class Perceptron:
    """softmax(relu(x · hidden) · out + bias)."""

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
    """Minimise cross-entropy with Adam. `classes` (questions,) holds each of 0 … count - 1 at least once."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    used, columns = np.unique(ngrams.columns, return_inverse=True)
    sparse = csr_matrix((ngrams.values, columns, ngrams.starts), shape=(ngrams.rows, max(1, len(used))))
    inputs, width = hstack([csr_matrix(dense), sparse], format="csr"), dense.shape[1]
    model = MLPClassifier((HIDDEN,), alpha=PENALTY, learning_rate_init=RATE, max_iter=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen: more of them learn by heart
        model.fit(inputs, classes)
    (weights, out), (hidden_bias, bias) = model.coefs_, model.intercepts_
    if count == 2:  # scikit-learn has one output for two classes: the logit of the second
        out, bias = np.hstack([0 * out, out]), np.append(0 * bias, bias)
    hashed, place = hashed_place(weights[width:].astype(np.float32), used, buckets)
    hidden = Linear(weights[:width].astype(np.float32), hashed, place, hidden_bias.astype(np.float32))
    return Perceptron(hidden, out.astype(np.float32), bias.astype(np.float32))
