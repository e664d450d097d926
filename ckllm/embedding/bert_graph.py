"""A BERT sentence encoder as an OpenVINO graph, built from its weights without torch.

After Devlin et al. 2019 (the encoder) and Reimers & Gurevych 2019 (mean pooling). Inputs: `embedded` float32 (texts, tokens,
width), the sum of word, position and type embeddings; `mask` float32 (texts, tokens), 1 for a token and 0 for padding.
Output: float32 (texts, width), rows of unit length; or, with a head, float32 (texts, tokens, labels). The look-up of embeddings
stays outside, so that the table (most of a multilingual model) is mapped from its file and never loaded.

int8: activations that enter a matrix product are quantised per tensor with fixed ranges (Jacob et al. 2018), weights per
output row; with fixed ranges a text's vector does not depend on its neighbours. Outlier channels are first moved from
activations into weights (SmoothQuant, Xiao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

Tensors: TypeAlias = Mapping[str, NDArray[np.float32]]
Node: TypeAlias = Any
"""openvino.Node; the package carries no types."""

WEIGHT_LEVELS = 63
"""Largest absolute int8 weight. Half of the range, because processors without VNNI add two products of u8 and i8 in 16 bits
and would saturate."""
SMOOTHING = 0.7
"""Share of an outlier that moves into the weights. Mean cosine to float32 of multilingual-e5-small: 0.5 0.996, 0.6 0.9977,
0.7 0.9984, 0.8 0.9981; of all-MiniLM-L6-v2: 0.5 0.987, 0.6 0.9954, 0.7 0.9966, 0.8 0.9960."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the graph needs to know besides the weights."""

    layers: int
    heads: int
    hidden: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Range:
    """What a matrix product was seen to be given, over all calibration tokens; each of shape (input width,)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(slots=True)
class Graph:
    """One encoder under construction. `ranges` (matrix name → Range) makes it int8; without them it is float32."""

    shape: Shape
    tensors: Tensors
    ranges: Mapping[str, Range] = field(default_factory=dict)
    observed: dict[str, Node] = field(default_factory=dict)
    """The inputs of every matrix product, by matrix name: what calibration looks at."""

    def build(self, observe: bool = False) -> ov.Model:
        """The model; with `observe`, every input of a matrix product is a further output, named as its matrix."""
        inputs, hidden = self._encoded()
        vectors = _unit_length(_mean(hidden, inputs[1]))
        vectors.output(0).set_names({"vectors"})
        outputs = [vectors]
        if observe:
            for name, node in self.observed.items():
                result = ops.result(node)
                node.output(0).set_names({name})
                outputs.append(result)
        return ov.Model(outputs, inputs, "sentence-encoder")

    def build_labels(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> ov.Model:
        """The model with a linear head over every token; `weight` (labels, width), `bias` (labels,)."""
        inputs, hidden = self._encoded()
        labels = ops.add(ops.matmul(hidden, _constant(weight), False, True), _constant(bias))
        labels.output(0).set_names({"labels"})
        return ov.Model([labels], inputs, "token-labels")

    def _encoded(self) -> tuple[list[Node], Node]:
        """The inputs, and every token's vector in the last layer."""
        width = self.shape.hidden
        embedded = ops.parameter([-1, -1, width], np.float32, name="embedded")
        mask = ops.parameter([-1, -1], np.float32, name="mask")
        for parameter in (embedded, mask):
            parameter.output(0).set_names({parameter.friendly_name})
        hidden = self._norm(embedded, "embeddings.LayerNorm")
        absent = ops.multiply(ops.subtract(mask, _constant([1.0])), _constant([1e9]))
        bias = ops.unsqueeze(absent, _integers([1, 2]))
        for layer in range(self.shape.layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}")
        return [embedded, mask], hidden

    def _layer(self, hidden: Node, bias: Node, name: str) -> Node:
        heads = [
            ops.transpose(
                ops.reshape(projected, _integers([0, 0, self.shape.heads, self.shape.hidden // self.shape.heads]), True),
                _integers([0, 2, 1, 3]),
            )
            for projected in self._linears(hidden, *(f"{name}.attention.self.{part}" for part in ("query", "key", "value")))
        ]
        attended = ops.scaled_dot_product_attention(*heads, bias)
        joined = ops.reshape(ops.transpose(attended, _integers([0, 2, 1, 3])), _integers([0, 0, self.shape.hidden]), True)
        (output,) = self._linears(joined, f"{name}.attention.output.dense")
        hidden = self._norm(ops.add(hidden, output), f"{name}.attention.output.LayerNorm")
        (inner,) = self._linears(hidden, f"{name}.intermediate.dense")
        (output,) = self._linears(ops.gelu(inner, "erf"), f"{name}.output.dense")
        return self._norm(ops.add(hidden, output), f"{name}.output.LayerNorm")

    def _linears(self, given: Node, *names: str) -> list[Node]:
        """One matrix product a name, all of the same input."""
        self.observed[names[0]] = given
        weights = [self.tensors[f"{name}.weight"] for name in names]
        seen = self.ranges.get(names[0])
        if seen is not None:
            factors = smoothing_factors(seen, weights)
            given = _quantised(ops.multiply(given, _constant(1 / factors)), seen, factors)
            weights = [weight * factors for weight in weights]
        matrices = [_constant(weight) if seen is None else _int8(weight) for weight in weights]
        return [
            ops.add(ops.matmul(given, matrix, False, True), _constant(self.tensors[f"{name}.bias"]))
            for name, matrix in zip(names, matrices, strict=True)
        ]

    def _norm(self, given: Node, name: str) -> Node:
        normal = ops.mvn(given, _integers([2]), True, self.shape.epsilon, "inside_sqrt")
        return ops.add(ops.multiply(normal, _constant(self.tensors[f"{name}.weight"])), _constant(self.tensors[f"{name}.bias"]))


def smoothing_factors(seen: Range, weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Per input channel: activations are divided by these and weights multiplied (SmoothQuant, equation 4)."""
    activation = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-5)
    weight = np.maximum(np.max([np.abs(matrix).max(axis=0) for matrix in weights], axis=0), 1e-5)
    factors = activation**SMOOTHING / weight ** (1 - SMOOTHING)
    return np.asarray(np.clip(factors / np.exp(np.log(factors).mean()), 1e-2, 1e2), np.float32)


def _quantised(given: Node, seen: Range, factors: NDArray[np.float32]) -> Node:
    """Rounded to 256 levels between the lowest and the highest value seen, zero being one of the levels."""
    low, high = float(min((seen.low / factors).min(), 0)), float(max((seen.high / factors).max(), 0))
    step = (high - low) / 255
    low = round(low / step) * step
    edges = [_constant([low]), _constant([low + 255 * step])]
    return ops.fake_quantize(given, *edges, *edges, 256)


def _int8(weight: NDArray[np.float32]) -> Node:
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / WEIGHT_LEVELS
    rounded = np.clip(np.rint(weight / scale), -WEIGHT_LEVELS, WEIGHT_LEVELS).astype(np.int8)
    return ops.multiply(ops.convert(ops.constant(rounded), "f32"), _constant(scale))


def _mean(hidden: Node, mask: Node) -> Node:
    total = ops.reduce_sum(ops.multiply(hidden, ops.unsqueeze(mask, _integers([2]))), _integers([1]))
    return ops.divide(total, ops.reduce_sum(mask, _integers([1]), True))


def _unit_length(vectors: Node) -> Node:
    return ops.normalize_l2(vectors, _integers([1]), 1e-12, "max")


def _constant(values: Any) -> Node:
    return ops.constant(np.asarray(values, np.float32))


def _integers(values: list[int]) -> Node:
    return ops.constant(np.asarray(values, np.int64))
