"""How fast ingestion is, where its time goes, and whether it stays so: `python -m benchmarks.ingestion --help`.

    python -m benchmarks.ingestion FOLDER                             your own documents
    python -m benchmarks.ingestion --generate 500 10000               generated files of 100 words, a run for each number
    python -m benchmarks.ingestion --generate 500 --embedder hashing  everything but the model

Each run is a process of its own with a home of its own. `share` is the time that a stage was at work by that of the whole run;
stages overlap, so the shares can add up to more than 1. `peak_mb` is the largest resident memory of the process, and with its
parser processes `peak_all_mb`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from benchmarks.circumstances import circumstances

ROOT = Path(__file__).parents[1]
WORDS = [
    "pressure",
    "valve",
    "engine",
    "filter",
    "weekly",
    "replace",
    "cleaning",
    "storage",
    "contract",
    "payment",
    "invoice",
    "customer",
    "garden",
    "winter",
    "summer",
    "river",
    "mountain",
    "history",
    "century",
    "village",
    "machine",
    "report",
    "result",
    "measure",
    "science",
    "theory",
    "method",
    "question",
    "answer",
    "light",
    "water",
    "energy",
]
_SAMPLE_S = 0.2


def generate(folder: Path, count: int, words: int) -> None:
    """`count` text files of `words` words on average, the same for the same numbers."""
    draw = random.Random(count)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        sentences = [
            " ".join(draw.choices(WORDS, k=12)).capitalize() + "." for _ in range(max(1, round(draw.gauss(words / 12, 2))))
        ]
        path.write_text(f"Note {number}. " + " ".join(sentences), encoding="utf-8")


class PeakMemory:
    """Largest resident memory while open, sampled five times a second."""

    def __init__(self) -> None:
        self.own = self.all = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._done.wait(_SAMPLE_S):
            own = process.memory_info().rss
            total = own
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:
                    continue
            self.own, self.all = max(self.own, own), max(self.all, total)


def measure(folder: Path, home: Path, embedder: str, embedder_home: Path) -> dict[str, Any]:
    """One ingestion of `folder` into a new home."""
    from ckllm.assembly import open_knowledge_base
    from ckllm.config import load_settings
    from ingestion import ingest

    home.mkdir(parents=True, exist_ok=True)
    if embedder_home.is_dir():
        (home / "models").symlink_to(embedder_home)
    with open_knowledge_base(settings=load_settings(home, overrides={"embedding.model": embedder})) as kb:
        kb.embedder.embed(["warm up"], "passage")
        name = kb.embedder.name
        with PeakMemory() as memory:
            report = ingest([folder], kb)
        again = ingest([folder], kb)
        pages = sum(row.pages for row in kb.catalogue.documents(kb.collection))
    documents = report.added
    return {
        "embedder": name, "documents": documents, "rejected": len(report.rejected), "pages": pages, "chunks": report.chunks,
        "seconds": report.seconds, "documents_per_s": rate(documents, report.seconds), "pages_per_s": rate(pages, report.seconds),
        "chunks_per_s": rate(report.chunks, report.seconds),
        "share": {stage: rate(seconds, report.seconds) for stage, seconds in report.stages.items()},
        "again_s": again.seconds, "peak_mb": memory.own // 1_000_000, "peak_all_mb": memory.all // 1_000_000,
    }  # fmt: skip


def rate(count: float, seconds: float) -> float:
    return round(count / seconds, 2) if seconds else 0.0


def in_a_process(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingestion", "--one", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--generate", nargs="+", type=int, default=[], metavar="N")
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--embedder", default="multilingual-e5-small")
    parser.add_argument(
        "--models", type=Path, default=Path("none"), help="converted models to use, else they are converted first"
    )
    parser.add_argument("--one", nargs=4, metavar=("FOLDER", "HOME", "EMBEDDER", "MODELS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, home, embedder, models = given.one
        print(json.dumps(measure(Path(folder), Path(home), embedder, Path(models))))
        return
    if not given.folder and not given.generate:
        parser.error("give a folder, or --generate N")
    print(json.dumps(circumstances()))
    with tempfile.TemporaryDirectory(prefix="ckllm-benchmark-") as work:
        folders = [(given.folder, "given")] if given.folder else []
        for count in given.generate:
            generate(Path(work) / f"in-{count}", count, given.words)
            folders.append((Path(work) / f"in-{count}", str(count)))
        for folder, name in folders:
            result = in_a_process([str(folder), str(Path(work) / f"home-{name}"), given.embedder, str(given.models.absolute())])
            print(json.dumps({"corpus": name, **result}), flush=True)


if __name__ == "__main__":
    main()
