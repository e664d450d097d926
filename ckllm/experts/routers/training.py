"""Train the router from labelled questions, and say on held-out ones how good it is.

Every figure of the report comes from models that never saw the question: cross-validation for up to `CROSS_VALIDATED` rows,
one fifth held out for more. Temperature and threshold are fitted on the same held-out scores; the router that is saved is
trained on all rows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Embedder, Vectors
from ckllm.errors import DataError
from ckllm.experts.base import BASE
from ckllm.experts.routers import measures
from ckllm.experts.routers.calibration import decide, fit_temperature, fit_threshold
from ckllm.experts.routers.folder import RouterFile, save_router
from ckllm.experts.routers.head import HeadScorer
from ckllm.experts.routers.picture import write_confusion
from ckllm.experts.routers.scoring import read

OUTSIDE = frozenset({"out_of_scope", "oos", "out-of-scope", "none", BASE})
"""Labels of questions that no expert is for."""
CROSS_VALIDATED = 4_000
FOLDS = 5
FEWEST = 10
"""Rows below which a label is left out of macro-F1: such a figure would be chance."""


@dataclass(frozen=True, slots=True)
class RouterRow:
    """A question and the expert that it is for; BASE for none."""

    prompt: str
    label: str
    lang: str = ""


def read_router_rows(file: Path) -> tuple[list[RouterRow], str]:
    """The rows of a JSON Lines file, and its SHA-256. Raises DataError naming the line that is not `{"prompt", "label"}`."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the router's data {file}: {error.strerror}") from error
    rows = [
        _row(line, f"{file}:{number}")
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1)
        if line.strip()
    ]
    return rows, hashlib.sha256(data).hexdigest()


def _row(line: str, where: str) -> RouterRow:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error.msg}") from None
    fields = (value.get("prompt"), value.get("label")) if isinstance(value, dict) else (None, None)
    if not all(isinstance(field, str) and field.strip() for field in fields):
        raise DataError(f'{where}: a row needs a "prompt" and a "label", both text')
    label = BASE if value["label"] in OUTSIDE else value["label"]
    return RouterRow(value["prompt"], label, value.get("lang") if isinstance(value.get("lang"), str) else "")


def train_router(
    rows: Sequence[RouterRow],
    embedder: Embedder,
    folder: Path,
    *,
    data_sha256: str = "",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train, calibrate, measure and save into `folder`: router.json, router.npz, confusion.json, confusion.png. The report.

    Raises DataError for fewer than two labels.
    """
    say = progress or (lambda _text: None)
    started = time.perf_counter()
    _refuse_too_few(rows)
    say(f"embedding {len(rows)} questions")
    texts = [row.prompt for row in rows]
    vectors = embed_questions(embedder, texts)
    embedded = time.perf_counter()
    say("training on parts, to measure on the rest")
    gold = [row.label for row in rows]
    held, logits, labels = held_out_logits(texts, vectors, gold, seed)
    temperature, threshold, report = calibrate([rows[n] for n in held], logits, labels)
    say("training on all questions")
    scorer = replace(HeadScorer.fit(texts, vectors, gold), temperature=temperature)
    report |= {
        "rows": len(rows),
        "held_out_rows": len(held),
        "labels": [label for label in scorer.labels if label != BASE],
        "seed": seed,
        "embed_s": round(embedded - started, 2),
        "seconds": round(time.perf_counter() - started, 2),
    }
    save_router(folder, RouterFile(scorer, threshold, embedder.name, data_sha256, report))
    write_confusion(folder, report["confusion"])
    return report


def embed_questions(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors in order; each different text is embedded once."""
    unique = list(dict.fromkeys(texts))
    at = {text: number for number, text in enumerate(unique)}
    return embedder.embed(unique, "query")[[at[text] for text in texts]]


def held_out_logits(
    texts: Sequence[str], vectors: Vectors, gold: Sequence[str], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...]]:
    """(rows that were held out, their logits, the labels of the columns)."""
    labels = tuple(sorted(set(gold)))
    folds = stratified_folds(gold, FOLDS, seed)
    rounds = range(FOLDS) if len(texts) <= CROSS_VALIDATED else range(1)
    logits = np.full((len(texts), len(labels)), -30.0)
    for number in rounds:
        rest, part = np.flatnonzero(folds != number).tolist(), np.flatnonzero(folds == number).tolist()
        scorer = HeadScorer.fit([texts[n] for n in rest], vectors[rest], [gold[n] for n in rest])
        columns = [labels.index(label) for label in scorer.labels]
        logits[np.ix_(np.array(part), np.array(columns))] = scorer.logits([texts[n] for n in part], vectors[part])
    held = np.flatnonzero(np.isin(folds, list(rounds)))
    return held, logits[held], labels


def stratified_folds(gold: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """(rows,) the fold of each row; every label is spread over all folds as evenly as it can be."""
    rng = np.random.default_rng(seed)
    labels, folds = np.array(gold), np.zeros(len(gold), np.int64)
    for label in sorted(set(gold)):
        rows = np.flatnonzero(labels == label)
        rng.shuffle(rows)
        folds[rows] = (np.arange(len(rows)) + int(rng.integers(count))) % count
    return folds


def calibrate(
    rows: Sequence[RouterRow], logits: NDArray[np.float64], labels: Sequence[str]
) -> tuple[float, float, dict[str, Any]]:
    """(temperature, threshold, report) from held-out rows and their logits (rows, labels)."""
    gold = [row.label for row in rows]
    temperature = fit_temperature(logits, np.array([list(labels).index(g) for g in gold]))
    table = measures.softmax(logits / temperature)
    found = [read(labels, row) for row in table]
    confidence = np.array([one.confidence for one in found])
    threshold = fit_threshold(confidence, gold)
    return temperature, threshold, figures(rows, labels, table, threshold) | {"temperature": temperature, "threshold": threshold}


def figures(rows: Sequence[RouterRow], labels: Sequence[str], table: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """What is reported of probabilities `table` (rows, labels) for labelled rows at a threshold."""
    gold = [row.label for row in rows]
    found = [read(labels, row) for row in table]
    confidence = np.array([one.confidence for one in found])
    forced = [one.label for one in found]
    said = decide(confidence, forced, threshold)
    inside = np.array([g != BASE for g in gold])
    counts = Counter(gold)
    known = sorted(label for label in counts if label != BASE and counts[label] >= min(FEWEST, max(counts.values())))
    counted = [n for n, g in enumerate(gold) if g in known]
    every = sorted({*gold, *said, BASE})
    top = table.argmax(axis=1)
    return {
        "accuracy": _mean([gold[n] == said[n] for n in counted]),
        "macro_f1": measures.macro_f1([gold[n] for n in counted], [said[n] for n in counted], known),
        "macro_f1_without_abstention": measures.macro_f1([gold[n] for n in counted], [forced[n] for n in counted], known),
        "labels_counted": known,
        "abstention": _mean([s == BASE for s, i in zip(said, inside, strict=True) if not i]),
        "false_abstention": _mean([said[n] == BASE for n in counted]),
        "out_of_scope_auroc": measures.auroc(confidence[inside], confidence[~inside]),
        "calibration_error": measures.calibration_error(
            table.max(axis=1), np.array([labels[t] == g for t, g in zip(top, gold, strict=True)])
        ),
        "by_language": _by_language(rows, said, counted),
        "confusion": {"labels": every, "counts": measures.confusion(gold, said, every)},
    }


def _by_language(
    rows: Sequence[RouterRow], said: Sequence[str], counted: Sequence[int]
) -> dict[str, dict[str, float | int | None]]:
    langs = sorted({rows[n].lang for n in counted})
    of = {lang: [n for n in counted if rows[n].lang == lang] for lang in langs}
    return {lang: {"rows": len(ns), "accuracy": _mean([rows[n].label == said[n] for n in ns])} for lang, ns in of.items()}


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def _refuse_too_few(rows: Sequence[RouterRow]) -> None:
    counts = Counter(row.label for row in rows if row.label != BASE)
    if len(counts) < 2:
        raise DataError(f"the data has {len(counts)} label(s) besides out_of_scope: a router chooses among at least 2")
    if max(counts.values()) < 2:
        raise DataError("every label has a single example: give at least 2 of each, better 20")
