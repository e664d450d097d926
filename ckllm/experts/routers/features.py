"""What a trained router sees of a question: its embedding, its style, and hashed letter and word n-grams.

The embedding carries the subject, in any language that the embedder knows; the n-grams carry the style (code, formulas,
spelling, small talk), which sentence embeddings are trained to ignore. Feature hashing after Weinberger et al. 2009, weights
tf-idf with 1 + log tf.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Vectors
from ckllm.experts.routers.style import style

LETTER_BUCKETS, WORD_BUCKETS = 1 << 14, 1 << 13
BUCKETS = LETTER_BUCKETS + WORD_BUCKETS
LONGEST = 1_000
"""Characters of a question that n-grams are taken from."""
MOST_LETTERS = 4
"""Letters in the longest n-gram."""
EMBEDDING_SCALE, NGRAM_SCALE, STYLE_SCALE = 3.0, 2.0, 0.4
"""How far each group of features counts, chosen by cross-validation (`benchmarks/experts.py router`)."""
FAR = 3.0
"""Standard deviations beyond which a number of the style counts no more."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class NGrams:
    """Rows of hashed features, compressed: row i has `columns[starts[i]:starts[i + 1]]` with `values` alike."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]

    @property
    def rows(self) -> int:
        return len(self.starts) - 1

    @property
    def row_numbers(self) -> NDArray[np.int64]:
        """The row of each stored value."""
        return np.repeat(np.arange(self.rows), np.diff(self.starts))


@dataclass(frozen=True, slots=True)
class QuestionFeatures:
    """The statistics of the training questions that features are made with."""

    mean: NDArray[np.float32]
    """(dimension,) of the embeddings. E5's lie in a narrow cone: taking its middle away is what tells them apart."""
    idf: NDArray[np.float32]
    """(BUCKETS,)"""
    style_mean: NDArray[np.float32]
    style_deviation: NDArray[np.float32]
    """(STYLES,) each."""

    @classmethod
    def fit(cls, vectors: Vectors, texts: Sequence[str]) -> QuestionFeatures:
        seen = np.zeros(BUCKETS)
        for text in texts:
            seen[list(_counts(text))] += 1
        idf = np.log((1 + len(texts)) / (1 + seen)) + 1
        styles = style(texts)
        return cls(vectors.mean(axis=0).astype(np.float32), idf.astype(np.float32), styles.mean(axis=0), styles.std(axis=0))

    def dense(self, vectors: Vectors, texts: Sequence[str]) -> NDArray[np.float32]:
        """(questions, dimension + STYLES): embeddings centred and of equal length, then styles in standard deviations."""
        styles = np.clip((style(texts) - self.style_mean) / (self.style_deviation + 1e-6), -FAR, FAR)
        parts = [centred(vectors, self.mean) * EMBEDDING_SCALE, styles * STYLE_SCALE]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def ngrams(self, texts: Sequence[str]) -> NGrams:
        starts, columns, values = [0], [], []
        for text in texts:
            counts = _counts(text)
            at = np.fromiter(counts, np.int64, len(counts))
            weight = (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * self.idf[at]
            for group in (at < LETTER_BUCKETS, at >= LETTER_BUCKETS):
                weight[group] *= NGRAM_SCALE / max(1e-9, float(np.sqrt((weight[group] ** 2).sum())))
            columns.append(at)
            values.append(weight)
            starts.append(starts[-1] + len(at))
        return NGrams(
            np.array(starts, np.int64),
            np.concatenate(columns) if columns else np.zeros(0, np.int64),
            np.concatenate(values).astype(np.float32) if values else np.zeros(0, np.float32),
        )


def centred(vectors: Vectors, mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length around `mean`."""
    moved = vectors - mean
    length: NDArray[np.float32] = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(length, 1e-9), np.float32)


def _counts(text: str) -> Counter[int]:
    """Bucket → how often one of its n-grams occurs. Case is kept: it is style."""
    return Counter(_buckets(text[:LONGEST]))


def _buckets(text: str) -> Iterator[int]:
    words = _WORD.findall(text)
    for word in words:
        padded = f" {word} "
        for size in range(1, MOST_LETTERS + 1):
            for at in range(len(padded) - size + 1):
                yield zlib.crc32(padded[at : at + size].encode("utf-8", "surrogatepass")) % LETTER_BUCKETS
    for number, word in enumerate(words):
        yield LETTER_BUCKETS + zlib.crc32(word.encode("utf-8", "surrogatepass")) % WORD_BUCKETS
        if number:
            yield LETTER_BUCKETS + zlib.crc32(f"{words[number - 1]} {word}".encode("utf-8", "surrogatepass")) % WORD_BUCKETS
    if not words:
        yield math.floor(LETTER_BUCKETS / 2)
