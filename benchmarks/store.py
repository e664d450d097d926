"""How fast the vector store writes and searches: `python benchmarks/store.py [CHUNKS] [--uri http://…]`, Markdown on stdout.

Chunks of 80 words drawn by Zipf's law from 20,000, vectors of 384 dimensions around 500 centres; each figure is over 40
questions of nine words, on a warm index except where it says "first". CPU time is of this process (Lite runs inside it): on a
busy machine it says more than the clock.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from ckllm.contracts import Access, Chunk, Hit, digest
from ckllm.embedding.base import Vectors
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ckllm.store.filter import parse_where
from ckllm.store.milvus import MilvusStore

DIMENSION = 384
K = 50
QUESTIONS = 40
BATCH = 1000


class Corpus:
    """Chunks and questions that depend on nothing but the seed; five chunks a version, every third version for staff only."""

    def __init__(self, chunks: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._words = np.array([f"word{number}" for number in range(20_000)])
        weights = 1.0 / np.arange(1, 20_001)
        self._weights = weights / weights.sum()
        self._centres = self._random.normal(size=(500, DIMENSION))
        self.chunks = chunks

    def vectors(self, count: int) -> Vectors:
        drawn = self._centres[self._random.integers(0, 500, count)] + self._random.normal(size=(count, DIMENSION))
        unit: Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def text(self, words: int) -> str:
        return " ".join(self._random.choice(self._words, size=words, p=self._weights))

    def record(self, number: int) -> ChunkRecord:
        version, text = number // 5, self.text(80)
        chunk = Chunk(digest(str(number)), f"d{version}", f"v{version}", number % 5, 0, len(text), text, "Title", 1, "Section")
        groups = ("staff",) if version % 3 == 0 else ()
        return ChunkRecord(chunk, f"/docs/{version}.txt", "Title", "en", groups, digest(str(version)), 0.0)


def timed(search: Callable[[int], object]) -> str:
    """p50 and p95 of the clock, and mean CPU time, in ms."""
    times = []
    cpu = time.process_time()
    for number in range(QUESTIONS):
        begun = time.perf_counter()
        search(number)
        times.append(1000 * (time.perf_counter() - begun))
    cpu = 1000 * (time.process_time() - cpu) / QUESTIONS
    return f"p50 {np.percentile(times, 50):.1f} ms, p95 {np.percentile(times, 95):.1f} ms, CPU {cpu:.1f} ms"


def write(store: MilvusStore, corpus: Corpus) -> tuple[float, Vectors]:
    """Chunks a second, flushed every 2,000 as ingestion does; and all vectors."""
    seconds, stored = 0.0, []
    for start in range(0, corpus.chunks, BATCH):
        count = min(BATCH, corpus.chunks - start)
        records, vectors = [corpus.record(start + n) for n in range(count)], corpus.vectors(count)
        begun = time.perf_counter()
        store.upsert("bench", records, vectors)
        if start % (2 * BATCH):
            store.flush("bench")
        seconds += time.perf_counter() - begun
        stored.append(vectors)
    begun = time.perf_counter()
    store.flush("bench")
    return corpus.chunks / (seconds + time.perf_counter() - begun), np.vstack(stored)


def recall(found: Sequence[Sequence[Hit]], queries: Vectors, stored: Vectors) -> float:
    """Share of the exact ten nearest among the ten found."""
    exact = np.argsort(-(queries @ stored.T), axis=1)[:, :10]
    pairs = zip(found, exact, strict=True)
    return float(np.mean([len({hit.chunk_id for hit in hits[:10]} & {digest(str(n)) for n in ids}) / 10 for hits, ids in pairs]))


def search_rows(store: MilvusStore, corpus: Corpus, stored: Vectors) -> list[tuple[str, str]]:
    queries, questions = corpus.vectors(QUESTIONS), [corpus.text(9) for _ in range(QUESTIONS)]
    hidden = Filter(hidden_versions=tuple(f"v{n}" for n in range(200)))
    filters = {
        "": Filter(),
        ", one group": Filter(Access("ana", ("staff",))),
        ", metadata condition": Filter(where=parse_where("page == 1 and lang == 'en'")),
        ", 200 versions hidden": hidden,
    }
    rows = [
        (
            "dense, recall@10 of the exact result",
            f"{recall(store.search_dense('bench', queries, K, Filter()), queries, stored):.3f}",
        )
    ]
    for name, where in filters.items():
        rows.append((f"dense{name}", timed(partial(_dense, store, queries, where))))
        rows.append((f"lexical{name}", timed(partial(_lexical, store, questions, where))))
    ids = [digest(str(number)) for number in range(50)]
    rows.append(("similarities of 50 chunks", timed(lambda n: store.similarities("bench", queries[n : n + 1], ids))))
    begun = time.perf_counter()
    store.count("bench", [f"v{n}" for n in range(20)])
    rows.append(("count of 20 versions", f"{1000 * (time.perf_counter() - begun):.0f} ms"))
    return rows


def _dense(store: MilvusStore, queries: Vectors, where: Filter, number: int) -> None:
    store.search_dense("bench", queries[number : number + 1], K, where)


def _lexical(store: MilvusStore, questions: Sequence[str], where: Filter, number: int) -> None:
    store.search_lexical("bench", [questions[number]], K, where)


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}, load {load:.1f}"


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chunks", nargs="?", type=int, default=2000)
    parser.add_argument("--uri", default="", help="a Milvus server; Milvus Lite in a temporary folder without it")
    given = parser.parse_args()
    corpus = Corpus(given.chunks)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        store = MilvusStore(given.uri or str(Path(folder) / "milvus.db"))
        rows = [("imports and opening", f"{time.perf_counter() - begun:.2f} s")]
        store.drop("bench")
        store.create(IndexDescription("bench", "benchmark", DIMENSION))
        rate, stored = write(store, corpus)
        rows.append(("writing, flushed every 2,000", f"{rate:.0f} chunks/s"))
        if not given.uri:
            store.close()
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            rows.append(("on disk", f"{size / 1e6:.0f} MB"))
            begun = time.perf_counter()
            store = MilvusStore(str(Path(folder) / "milvus.db"))
            store.search_dense("bench", stored[:1], K, Filter())
            rows.append(("reopening and first dense search", f"{time.perf_counter() - begun:.2f} s"))
            begun = time.perf_counter()
            store.search_lexical("bench", [corpus.text(9)], K, Filter())
            rows.append(("first lexical search", f"{time.perf_counter() - begun:.2f} s"))
        rows += search_rows(store, corpus, stored)
        store.drop("bench")
        store.close()
    print(f"## Store, {given.chunks:,} chunks, {given.uri or 'Milvus Lite'}\n\n{date.today()}; {machine()}\n")
    print("| what | figure |\n| --- | --- |")
    print("\n".join(f"| {name} | {figure} |" for name, figure in rows))


if __name__ == "__main__":
    main()
