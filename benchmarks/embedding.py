"""Speed of each embedding runtime, and retrieval of the right passage by dense search against BM25.

    python benchmarks/embedding.py EVALUATION_FOLDER [--passages N] [--questions N] [--sets xquad/en,xquad/hi,squad2]

EVALUATION_FOLDER/SET/corpus.jsonl holds {"id","text"}, questions.jsonl {"question","answerable","evidence":[{"doc"}]}. Prints
Markdown. Speed is counted in seconds of processor time too, because a busy machine spoils wall time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import regex
import Stemmer
from numpy.typing import NDArray

from benchmarks.circumstances import told
from ckllm.config import EmbeddingSettings
from ckllm.embedding.base import Embedder
from ckllm.embedding.bundled import MODELS
from ckllm.embedding.limits import cut_to_limit
from ckllm.embedding.openvino_runtime import OpenVinoEmbedder
from ckllm.embedding.table import open_embedder

SETS = "xquad/en,xquad/hi,xquad/zh,xquad/ar,squad2"
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}\p{N}]+")


@dataclass(frozen=True)
class Questions:
    """A corpus and the questions whose passage is known."""

    passages: list[str]
    questions: list[str]
    gold: list[set[int]]
    """Indices of the passages that hold the answer."""


def load(folder: Path, passages: int, questions: int, seed: int) -> Questions:
    """At most `passages` rows of the corpus and `questions` of those that they answer, drawn with `seed`; 0: all."""
    draw = random.Random(seed)
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    if passages:
        corpus = draw.sample(corpus, min(passages, len(corpus)))
    place = {row["id"]: index for index, row in enumerate(corpus)}
    found: list[tuple[str, set[int]]] = []
    for line in (folder / "questions.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        gold = {place[item["doc"]] for item in row["evidence"] if item["doc"] in place}
        if row["answerable"] and gold:
            found.append((row["question"], gold))
    if questions:
        found = draw.sample(found, min(questions, len(found)))
    return Questions([row["text"] for row in corpus], [text for text, _gold in found], [gold for _text, gold in found])


def recall(scores: NDArray[Any], gold: Sequence[set[int]], k: int) -> float:
    """Share of questions with a right passage among the first `k`; `scores` (questions, passages)."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean([bool(right & set(row.tolist())) for row, right in zip(best, gold, strict=True)]))


def bm25(data: Questions, language: str, k1: float = 1.2, b: float = 0.75) -> NDArray[np.float64]:
    """Scores of Robertson & Zaragoza 2009, words stemmed where there is a stemmer, Chinese and Japanese by character."""
    stem = Stemmer.Stemmer(language).stemWords if language in Stemmer.algorithms() else list
    documents = [Counter(stem(_WORD.findall(text.casefold()))) for text in data.passages]
    lengths = np.array([sum(words.values()) for words in documents], np.float64)
    frequency = Counter(word for words in documents for word in words)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores = np.zeros((len(data.questions), len(documents)))
    for row, question in enumerate(data.questions):
        for word in set(stem(_WORD.findall(question.casefold()))) & frequency.keys():
            inverse = math.log(1 + (len(documents) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            counts = np.array([words[word] for words in documents], np.float64)
            scores[row] += inverse * counts * (k1 + 1) / (counts + norm)
    return scores


def dense(embedder: Embedder, data: Questions) -> NDArray[np.float32]:
    """Cosines (questions, passages); passages above the embedder's limit are cut."""
    passages = [cut_to_limit(text, embedder.max_tokens, lambda part: embedder.count_tokens([part])[0]) for text in data.passages]
    return embedder.embed(data.questions, "query") @ embedder.embed(passages, "passage").T


def open_all(models: Path) -> dict[str, Embedder]:
    """Column title → embedder; the first two are what the service uses by default on processors of either kind."""
    return {
        "e5 OpenVINO fp32": OpenVinoEmbedder(MODELS["multilingual-e5-small"], models, int8=False),
        "e5 OpenVINO int8": OpenVinoEmbedder(MODELS["multilingual-e5-small"], models, int8=True),
        "MiniLM OpenVINO fp32": OpenVinoEmbedder(MODELS["all-MiniLM-L6-v2"], models, int8=False),
        "MiniLM OpenVINO int8": OpenVinoEmbedder(MODELS["all-MiniLM-L6-v2"], models, int8=True),
    }


def speed_table(embedders: dict[str, Embedder], texts: list[str], models: Path) -> None:
    everything = dict(embedders)
    for label, name in (("e5", "multilingual-e5-small"), ("MiniLM", "all-MiniLM-L6-v2")):
        settings = EmbeddingSettings(model=name, runtime="sentence-transformers")
        everything[f"{label} sentence-transformers fp32"] = open_embedder(settings, models)
    print(f"\n{len(texts)} passages, {len(' '.join(texts)) // len(texts)} characters on average\n")
    print("| runtime | passages/s | passages per second of one core | question, ms |\n| --- | --- | --- | --- |")
    for label, embedder in everything.items():
        cut = [text[:600] for text in texts]
        embedder.embed(cut[:2], "passage")
        wall, processor = time.perf_counter(), time.process_time()
        embedder.embed(cut, "passage")
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        questions: list[float] = []
        for number in range(12):
            start = time.perf_counter()
            embedder.embed([f"Where is form {number} handed in?"], "query")
            questions.append(time.perf_counter() - start)
        print(f"| {label} | {len(cut) / wall:.1f} | {len(cut) / processor:.1f} | {np.median(questions) * 1000:.0f} |", flush=True)


def recall_table(embedders: dict[str, Embedder], arguments: argparse.Namespace) -> None:
    print("\nRecall@1 / recall@5 of the right passage\n")
    print("| set | passages | questions | BM25 | " + " | ".join(embedders) + " |\n" + "| --- " * (4 + len(embedders)) + "|")
    for name in arguments.sets.split(","):
        data = load(arguments.folder / name, arguments.passages, arguments.questions, arguments.seed)
        language = {"ar": "arabic", "hi": "hindi", "zh": ""}.get(name.rpartition("/")[2], "english")
        columns: list[NDArray[Any]] = [bm25(data, language), *(dense(embedder, data) for embedder in embedders.values())]
        cells = [f"{recall(scores, data.gold, 1):.3f} / {recall(scores, data.gold, 5):.3f}" for scores in columns]
        print(f"| {name} | {len(data.passages)} | {len(data.questions)} | " + " | ".join(cells) + " |", flush=True)


def start_table(models: Path) -> None:
    """Opening in this process, which has numpy already, for the first time and with what was kept."""
    print("\n| opening multilingual-e5-small | seconds | processor seconds |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as empty:
        for label, folder in (("first time, with conversion", Path(empty)), ("again", Path(empty)), ("from the cache", models)):
            wall, processor = time.perf_counter(), time.process_time()
            open_embedder(EmbeddingSettings(), folder).embed(["ready?"], "query")
            print(f"| {label} | {time.perf_counter() - wall:.2f} | {time.process_time() - processor:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--passages", type=int, default=0, help="at most; 0: all")
    parser.add_argument("--questions", type=int, default=0, help="at most; 0: all")
    parser.add_argument("--speed-passages", type=int, default=64, help="0: no measurement of speed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--models", type=Path, default=platformdirs.user_cache_path("ckllm-tests"))
    arguments = parser.parse_args()
    print(told())
    embedders = open_all(arguments.models)
    first = load(arguments.folder / arguments.sets.split(",")[0], arguments.speed_passages, 1, arguments.seed)
    if arguments.speed_passages:
        speed_table(embedders, first.passages, arguments.models)
    recall_table(embedders, arguments)
    start_table(arguments.models)


if __name__ == "__main__":
    main()
