"""A typed fake for tests: deterministic vectors from words alone, no model, no files."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ckllm.contracts import digest
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.limits import refuse_long_passages

_WORD = re.compile(r"\w+|[^\w\s]")
_TRIGRAM = 3


class HashingEmbedder:
    """Feature hashing (Weinberger et al. 2009) of words and their letter trigrams: texts that share words are near.

    A token is a run of word characters or one sign. Queries carry one feature of their own, as with models that use prefixes.
    A passage above `max_tokens` is refused with DataError; a longer query is cut.
    """

    def __init__(self, dimension: int = 256, max_tokens: int = 512) -> None:
        self._dimension = dimension
        self._max_tokens = max_tokens

    @property
    def name(self) -> str:
        return f"hashing-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        if purpose == "passage":
            refuse_long_passages(self.count_tokens(texts), self._max_tokens, self.name)
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        for row, text in enumerate(texts):
            words = _WORD.findall(text.casefold())[: self._max_tokens]
            for feature, weight in self._features(words, purpose):
                number = int(digest(feature, size=8), 16)
                vectors[row, (number >> 1) % self._dimension] += weight if number & 1 else -weight
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    @staticmethod
    def _features(words: list[str], purpose: Purpose) -> list[tuple[str, float]]:
        # Its weight is no sum of the others', so that they never cancel it out and leave a vector without length.
        features = [(f"purpose {purpose}", 0.13)]
        for word in words:
            features.append((word, 1.0))
            features += [(f"part {word[at : at + _TRIGRAM]}", 0.2) for at in range(len(word) - _TRIGRAM + 1)]
        return features
