"""How the vector store writes and searches as it grows, Markdown on stdout:

    python -m benchmarks.store 1000 10000 100000 500000 [--uri http://…] [--plot growth.svg]

Chunks of 80 words drawn by Zipf's law from 20,000, vectors of 384 dimensions around 500 centres; each figure is over 40
questions of nine words, on a warm index except where it says "first". "hybrid" is what a search of ckllm asks of the store: both
searches, and the cosines that are missing. CPU time is of this process (Lite runs inside it): on a busy machine it says more
than the clock. Every size is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.circumstances import told
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

    def texts(self, count: int, words: int) -> list[str]:
        return [" ".join(row) for row in self._random.choice(self._words, size=(count, words), p=self._weights)]

    def record(self, number: int, text: str) -> ChunkRecord:
        version = number // 5
        chunk = Chunk(digest(str(number)), f"d{version}", f"v{version}", number % 5, 0, len(text), text, "Title", 1, "Section")
        groups = ("staff",) if version % 3 == 0 else ()
        return ChunkRecord(chunk, f"/docs/{version}.txt", "Title", "en", groups, digest(str(version)), 0.0)


def timed(search: Callable[[int], object]) -> dict[str, float]:
    """p50 and p95 of the clock, and mean CPU time, in ms."""
    times = []
    search(0)
    cpu = time.process_time()
    for number in range(QUESTIONS):
        begun = time.perf_counter()
        search(number)
        times.append(1000 * (time.perf_counter() - begun))
    cpu = 1000 * (time.process_time() - cpu) / QUESTIONS
    return {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95)), "cpu": cpu}


def write(store: MilvusStore, corpus: Corpus) -> tuple[float, Vectors]:
    """Chunks a second, flushed every 2,000 as ingestion does; and all vectors."""
    seconds, stored = 0.0, []
    for start in range(0, corpus.chunks, BATCH):
        count = min(BATCH, corpus.chunks - start)
        records = [corpus.record(start + n, text) for n, text in enumerate(corpus.texts(count, 80))]
        vectors = corpus.vectors(count)
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


def searches(store: MilvusStore, corpus: Corpus) -> dict[str, dict[str, float]]:
    """Name of a search → p50, p95 and CPU time in ms."""
    queries, questions = corpus.vectors(QUESTIONS), corpus.texts(QUESTIONS, 9)
    filters = {
        "": Filter(),
        ", one group": Filter(Access("ana", ("staff",))),
        ", metadata condition": Filter(where=parse_where("page == 1 and lang == 'en'")),
        ", 200 versions hidden": Filter(hidden_versions=tuple(f"v{n}" for n in range(200))),
    }
    found = {}
    for name, where in filters.items():
        found[f"dense{name}"] = timed(partial(_dense, store, queries, where))
        found[f"lexical{name}"] = timed(partial(_lexical, store, questions, where))
        found[f"hybrid{name}"] = timed(partial(_hybrid, store, queries, questions, where))
    return found


def _hybrid(store: MilvusStore, queries: Vectors, questions: Sequence[str], where: Filter, number: int) -> None:
    vector = queries[number : number + 1]
    [dense], [lexical] = (
        store.search_dense("bench", vector, K, where),
        store.search_lexical("bench", [questions[number]], K, where),
    )
    known = {hit.chunk_id for hit in dense}
    store.similarities("bench", vector, [hit.chunk_id for hit in lexical if hit.chunk_id not in known])


def _dense(store: MilvusStore, queries: Vectors, where: Filter, number: int) -> None:
    store.search_dense("bench", queries[number : number + 1], K, where)


def _lexical(store: MilvusStore, questions: Sequence[str], where: Filter, number: int) -> None:
    store.search_lexical("bench", [questions[number]], K, where)


def measure(chunks: int, uri: str) -> dict[str, float]:
    """Everything of one size; times of searches in ms as "NAME p50" and so on."""
    corpus, process = Corpus(chunks), psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        store = MilvusStore(uri or str(Path(folder) / "milvus.db"))
        before = process.memory_info().rss
        store.drop("bench")
        store.create(IndexDescription("bench", "benchmark", DIMENSION))
        rate, stored = write(store, corpus)
        figures = {"chunks written a second": rate}
        if not uri:
            store.close()
            figures["MB on disk"] = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
            begun = time.perf_counter()
            store = MilvusStore(str(Path(folder) / "milvus.db"))
            store.search_dense("bench", stored[:1], K, Filter())
            figures["s to open and search"] = time.perf_counter() - begun
            begun = time.perf_counter()
            store.search_lexical("bench", corpus.texts(1, 9), K, Filter())
            figures["s of the first lexical search"] = time.perf_counter() - begun
        queries = corpus.vectors(QUESTIONS)
        figures["recall@10 of the exact result"] = recall(store.search_dense("bench", queries, K, Filter()), queries, stored)
        del stored
        for name, times in searches(store, corpus).items():
            figures |= {f"{name} {kind}": value for kind, value in times.items()}
        figures["MB of memory"] = (process.memory_info().rss - before) / 1e6
        store.drop("bench")
        store.close()
    return figures


def table(results: Mapping[int, Mapping[str, float]]) -> str:
    """A column for each size."""
    names = [name for name in next(iter(results.values())) if not name.endswith((" p95", " cpu"))]
    lines = [["chunks", *(f"{size:,}" for size in results)], ["---", *("---:" for _ in results)]]
    for name in names:
        search = name.removesuffix(" p50")
        timing = search != name
        cells = [
            f"{one[name]:.1f} / {one[search + ' p95']:.1f}" if timing else f"{one[name]:,.{0 if one[name] >= 100 else 2}f}"
            for one in results.values()
        ]
        lines.append([f"{search}, p50 / p95 in ms" if timing else name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(results: Mapping[int, Mapping[str, float]], file: Path) -> None:
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name in ("dense", "lexical", "hybrid", "hybrid, one group"):
        axes.plot(list(results), [one[f"{name} p95"] for one in results.values()], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="chunks", ylabel="p95, ms", title="A search of the embedded store")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chunks", nargs="*", type=int, default=[2000])
    parser.add_argument("--uri", default="", help="a Milvus server; Milvus Lite in a temporary folder without it")
    parser.add_argument("--plot", type=Path, help="a picture of the p95 by size")
    parser.add_argument("--json", action="store_true", help="the figures of one size as JSON")
    given = parser.parse_args()
    if given.json:
        print(json.dumps(measure(given.chunks[0], given.uri)))
        return
    results = {}
    for size in given.chunks:
        command = [sys.executable, "-m", "benchmarks.store", str(size), "--json", *(("--uri", given.uri) if given.uri else ())]
        results[size] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f"## Store, {given.uri or 'Milvus Lite'}\n\n{told()}\n\n{table(results)}")
    if given.plot:
        plot(results, given.plot)


if __name__ == "__main__":
    main()
