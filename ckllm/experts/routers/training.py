"""Train the router from labelled questions, and say on held-out ones how good it is, beside simpler routers.

Every figure of the report comes from models that never saw the question. Temperature and threshold are fitted on the same
held-out scores; the router that is saved is trained on all rows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.base import Embedder, Vectors
from ckllm.errors import DataError, UsageError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.routers.centroid import CentroidScorer, RawMeanScorer
from ckllm.experts.routers.folder import SCORERS, RouterFile, TrainedScorer, save_router
from ckllm.experts.routers.head import HEADS, HeadScorer
from ckllm.experts.routers.held_out import Examples, Fit, Reworded, held_out, parts_held_out
from ckllm.experts.routers.nearest import NearestScorer
from ckllm.experts.routers.picture import write_confusion
from ckllm.experts.routers.report import Judged, judge
from ckllm.experts.routers.rewording import MEASURED
from ckllm.experts.routers.scoring import ScoredRouter
from ckllm.json_lines import read_objects

Train: TypeAlias = Callable[[Sequence[str], Vectors, Sequence[str]], TrainedScorer]
"""texts, vectors (texts, dimension), gold labels → a scorer that can be saved."""
AUTO = "auto"
"""The head that is better on held-out questions."""
OTHERS: Mapping[str, Fit] = {"raw-mean": RawMeanScorer.fit, "centroid": CentroidScorer.fit, "nearest": NearestScorer.fit}
"""Compared with what is trained: Herd's raw means, and those that are fitted in no time."""
OUTSIDE = frozenset({"out_of_scope", "oos", "out-of-scope", "none", BASE})
"""Labels of questions that no expert is for."""
REWORDED = 150
"""Held-out questions that are asked again in other words."""
TIMED = 200
"""Questions whose time is taken."""
COMPARED = (
    "accuracy", "macro_f1", "macro_f1_without_abstention", "out_of_scope_auroc", "calibration_error", "unchanged_when_reworded",
)  # fmt: skip
"""What is reported of the routers beside the one that is trained."""


@dataclass(frozen=True, slots=True)
class RouterRow:
    """A question and the expert that it is for; BASE for none."""

    prompt: str
    label: str
    lang: str = ""


def read_router_rows(file: Path) -> tuple[list[RouterRow], str]:
    """The rows of a JSON Lines file, and its SHA-256. Raises DataError naming the line that is not `{"prompt", "label"}`."""
    objects, sha256 = read_objects(file)
    return [_row(value, where) for value, where in objects], sha256


def _row(value: dict[str, Any], where: str) -> RouterRow:
    prompt, label, lang = (value.get(name) for name in ("prompt", "label", "lang"))
    if not all(isinstance(field, str) and field.strip() for field in (prompt, label)):
        raise DataError(f'{where}: a row needs a "prompt" and a "label", both text')
    return RouterRow(str(prompt), BASE if label in OUTSIDE else str(label), lang if isinstance(lang, str) else "")


def train_router(
    rows: Sequence[RouterRow],
    embedder: Embedder,
    folder: Path,
    *,
    strategy: str = "head",
    head: str = HEADS[0],
    data_sha256: str = "",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train, calibrate, measure and save into `folder`: router.json, router.npz, confusion.json, confusion.png. The report.

    `head` is one of HEADS, or AUTO for the one with the better held-out macro-F1, the first where they are equal. Raises
    DataError for fewer than two labels, UsageError for a strategy or a head that cannot be trained.
    """
    say = progress or (lambda _text: None)
    started = time.perf_counter()
    _refuse_too_few(rows)
    if strategy not in SCORERS:
        raise UsageError(f"no router is called {strategy!r}: {', '.join(SCORERS)}")
    if head not in (*HEADS, AUTO) or (head != HEADS[0] and strategy != "head"):
        raise UsageError(f"no head of the router {strategy} is called {head!r}: head alone has one, {', '.join((*HEADS, AUTO))}")
    say(f"embedding {len(rows)} questions")
    texts, langs = [row.prompt for row in rows], [row.lang for row in rows]
    examples = Examples(texts, embed_questions(embedder, texts), [row.label for row in rows])
    parts = parts_held_out(examples.gold, seed)
    changed = reworded(embedder, texts, np.concatenate(parts), seed)
    embedded = time.perf_counter()
    say("training on parts, to measure on the rest")

    def judged_by(fit: Fit) -> Judged:
        return judge(held_out(fit, examples, parts, changed), examples.gold, langs, changed)

    candidates = _candidates(strategy, head, seed)
    own_of = {name: judged_by(fit) for name, fit in candidates.items()}
    chosen = max(own_of, key=lambda name: own_of[name].figures["macro_f1"])
    own = own_of[chosen]
    others = {name: judged_by(fit).figures for name, fit in OTHERS.items() if name != strategy}
    say("training on all questions")
    scorer = replace(candidates[chosen](texts, examples.vectors, examples.gold), temperature=own.temperature)
    beside = {name: one.figures for name, one in own_of.items() if name != chosen} | others
    report = own.figures | {
        "strategy": strategy,
        "head": chosen if strategy == "head" else None,
        "temperature": own.temperature,
        "threshold": own.threshold,
        "beside": {name: {key: other[key] for key in COMPARED} for name, other in beside.items()},
        "points_above_raw_means": 100 * (own.figures["macro_f1"] - others["raw-mean"]["macro_f1"]),
        "beyond_embedding_ms": timed(ScoredRouter(scorer, own.threshold, lambda: embedder), texts, examples.vectors),
        "rows": len(rows),
        "held_out_rows": sum(len(part) for part in parts),
        "labels": [label for label in scorer.labels if label != BASE],
        "seed": seed,
        "embed_s": round(embedded - started, 2),
        "seconds": round(time.perf_counter() - started, 2),
    }
    save_router(folder, RouterFile(scorer, own.threshold, embedder.name, data_sha256, report))
    write_confusion(folder, report["confusion"])
    return report


def embed_questions(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors in order; each different text is embedded once."""
    unique = list(dict.fromkeys(texts))
    at = {text: number for number, text in enumerate(unique)}
    return embedder.embed(unique, "query")[[at[text] for text in texts]]


def reworded(embedder: Embedder, texts: Sequence[str], among: NDArray[np.int64], seed: int) -> dict[str, Reworded]:
    """Up to REWORDED of the questions `among` in every other wording, embedded anew."""
    rows = np.sort(np.random.default_rng(seed).permutation(among)[:REWORDED])
    changed = {name: [change(texts[n]) for n in rows] for name, change in MEASURED.items()}
    return {name: Reworded(rows, forms, embed_questions(embedder, forms)) for name, forms in changed.items()}


def timed(router: ScoredRouter, texts: Sequence[str], vectors: Vectors) -> dict[str, float]:
    """Milliseconds of the processor that one question takes beyond its embedding."""
    took = []
    for number, text in enumerate(texts[:TIMED]):
        began = time.process_time()
        router.route_vectors([RouteRequest(text)], vectors[number : number + 1])
        took.append(1000 * (time.process_time() - began))
    return {name: round(float(np.quantile(took, share)), 2) for name, share in (("p50", 0.5), ("p95", 0.95))}


def _candidates(strategy: str, head: str, seed: int) -> dict[str, Train]:
    """What is trained, by name; with AUTO every head."""
    if strategy != "head":
        return {strategy: SCORERS[strategy].fit}
    return {kind: partial(HeadScorer.fit, kind=kind, seed=seed) for kind in (HEADS if head == AUTO else (head,))}


def _refuse_too_few(rows: Sequence[RouterRow]) -> None:
    counts = Counter(row.label for row in rows if row.label != BASE)
    if len(counts) < 2:
        raise DataError(f"the data has {len(counts)} label(s) besides out_of_scope: a router chooses among at least 2")
    if max(counts.values()) < 2:
        raise DataError("every label has a single example: give at least 2 of each, better 20")
