"""How far each stage is from what this machine can do: `python -m benchmarks.limits [--runs 5]`, Markdown on stdout.

What the machine can do is measured first: float32 products of large matrices (FLOP/s) and sums over an array far larger than the
caches (bytes/s). Then the stages that compute: embedding passages, reading a prompt, writing an answer, searching 100,000 vectors
as the embedded store does. Of a transformer only the matrix products count, two operations for each weight and token and the
products of attention; a written token reads every weight once. Best of several runs, so that other work disturbs little.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.circumstances import told
from benchmarks.llm import prompt
from ckllm.config import load_settings
from ckllm.contracts import Message
from ckllm.embedding.table import open_embedder
from ckllm.llm.base import GenerationRequest
from ckllm.llm.table import open_llm

MATRIX = 2048
BUFFER_MB = 512
PASSAGES, PASSAGE_WORDS = 32, 150
NEW_TOKENS = 60
VECTORS, DIMENSION = 100_000, 384


@dataclass(frozen=True, slots=True)
class Transformer:
    """A model's shape. `keys`: the width of its keys, as of its values; `gated`: three matrices a feed-forward, not two."""

    layers: int
    width: int
    inner: int
    keys: int
    gated: bool
    vocabulary: int = 0
    """Rows of the output matrix; 0 where there is none."""

    @property
    def layer_weights(self) -> int:
        return 2 * self.width**2 + 2 * self.width * self.keys + (3 if self.gated else 2) * self.width * self.inner

    @property
    def weights(self) -> int:
        """Those that every token passes through."""
        return self.layers * self.layer_weights + self.vocabulary * self.width

    def read(self, tokens: int) -> float:
        """FLOP for a text of so many tokens, without the output matrix."""
        return 2.0 * self.layers * (self.layer_weights * tokens + 2 * tokens**2 * self.width)


E5 = Transformer(layers=12, width=384, inner=1536, keys=384, gated=False)
LLAMA = Transformer(layers=30, width=576, inner=1536, keys=192, gated=True, vocabulary=49152)
"""SmolLM2-135M."""


@dataclass(frozen=True, slots=True)
class Row:
    """A stage: how much of what it took a second, and the most that the machine can."""

    stage: str
    done: float
    most: float
    unit: str


def best(runs: int, act: Callable[[], object]) -> float:
    """Seconds of the quickest run, after one that counts for nothing."""
    act()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


def peak_flops(runs: int) -> float:
    one = np.random.default_rng(0).normal(size=(MATRIX, MATRIX)).astype(np.float32)
    return 2.0 * MATRIX**3 / best(runs, lambda: one @ one)


def peak_bandwidth(runs: int) -> float:
    """Bytes a second that a product of a matrix and a vector reads, with all cores."""
    rows = BUFFER_MB * 1_000_000 // 4 // DIMENSION
    matrix, vector = np.ones((rows, DIMENSION), np.float32), np.ones(DIMENSION, np.float32)
    return matrix.nbytes / best(runs, lambda: matrix @ vector)


def embedding(runs: int, models: Path) -> float:
    """FLOP/s."""
    embedder = open_embedder(load_settings(environment={}).embedding, models)
    words = np.random.default_rng(1).choice(
        ["river", "stone", "bridge", "harbour", "copper", "winter"], (PASSAGES, PASSAGE_WORDS)
    )
    texts = [" ".join(row) for row in words]
    tokens = embedder.count_tokens(texts)
    return sum(E5.read(count) for count in tokens) / best(runs, lambda: embedder.embed(texts, "passage"))


def generation(runs: int, models: Path) -> tuple[float, float]:
    """FLOP/s of reading a prompt that was never seen, and bytes/s of weights read for the tokens written."""
    llm = open_llm(load_settings(environment={}).llm, models)
    reading, writing = [], []
    for number in range(runs + 1):
        messages = tuple(Message(role, content) for role, content in prompt(1000 + number))
        begun = time.perf_counter()
        with llm.generate_stream(GenerationRequest(messages, max_tokens=NEW_TOKENS, temperature=0.0)) as stream:
            for count, _piece in enumerate(stream):
                if not count:
                    first = time.perf_counter()
        ended, written = time.perf_counter(), stream.usage.completion_tokens
        reading.append(LLAMA.read(stream.usage.prompt_tokens) / (first - begun))
        if written > 1:
            writing.append(4.0 * LLAMA.weights * (written - 1) / (ended - first))
    llm.close()
    return max(reading[1:]), max(writing)


def search(runs: int) -> float:
    """Bytes/s of vectors compared, with what the store does around it."""
    from benchmarks.store import Corpus, write
    from ckllm.store.base import Filter, IndexDescription
    from ckllm.store.milvus import MilvusStore

    corpus = Corpus(VECTORS)
    with tempfile.TemporaryDirectory() as folder:
        store = MilvusStore(str(Path(folder) / "milvus.db"))
        store.create(IndexDescription("bench", "benchmark", DIMENSION))
        write(store, corpus)
        query = corpus.vectors(1)
        seconds = best(4 * runs, lambda: store.search_dense("bench", query, 50, Filter()))
        store.close()
    return 4.0 * VECTORS * DIMENSION / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--models", type=Path, help="a folder of converted models, to save their conversion")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    flops, bandwidth = peak_flops(given.runs), peak_bandwidth(given.runs)
    with tempfile.TemporaryDirectory() as folder:
        models = given.models or Path(folder)
        embedded = embedding(given.runs, models)
        read, written = generation(given.runs, models)
    rows = [
        Row("embedding passages (multilingual-e5-small)", embedded, flops, "GFLOP/s"),
        Row("reading a prompt (SmolLM2-135M)", read, flops, "GFLOP/s"),
        Row("writing an answer (float32 weights)", written, bandwidth, "GB/s"),
        Row(f"dense search of {VECTORS:,} chunks", search(given.runs), bandwidth, "GB/s"),
    ]
    print(f"## Limits\n\n{told()}; best of {given.runs}\n")
    print("| stage | reached | the machine's most | share |\n| --- | ---: | ---: | ---: |")
    for row in rows:
        print(f"| {row.stage} | {row.done / 1e9:.1f} {row.unit} | {row.most / 1e9:.1f} | {row.done / row.most:.0%} |")


if __name__ == "__main__":
    main()
