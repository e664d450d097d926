"""The seam between text and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""Shape (texts, dimension), rows of unit length."""

Purpose: TypeAlias = Literal["query", "passage"]


class Embedder(Protocol):
    """Turns texts into vectors. Prefixes such as E5's `query: ` are the embedder's own business."""

    @property
    def name(self) -> str:
        """Identity written into every index; vectors of equal names can be compared, others cannot."""

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """The most tokens of text that `embed` accepts for one passage, prefix and special tokens already taken off."""

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Vectors in the order of `texts`, shape (len(texts), dimension), float32, unit length.

        Order, batch size and neighbours do not change a text's vector beyond rounding. An empty sequence gives
        shape (0, dimension).
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text in the embedder's own tokenizer, without special tokens and prefix."""
