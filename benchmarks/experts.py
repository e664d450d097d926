"""Measures routers, and what sharing prefixes saves in training.

    python benchmarks/experts.py router  --train FILE --test FILE [--models DIR] [--reworded N] [--out FILE]
    python benchmarks/experts.py packing --data FILE --base MODEL_DIR

`router` trains every router on `--train` only, calibrates it there, and reports on `--test`: macro-F1 (labels with ten rows
or more), out-of-scope AUROC, calibration error, time a question beyond the embedding, and how often a reworded question
keeps its route.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.config import EmbeddingSettings
from ckllm.embedding.table import open_embedder
from ckllm.experts.base import RouteRequest
from ckllm.experts.routers.centroid import CentroidScorer, RawMeanScorer
from ckllm.experts.routers.head import HeadScorer
from ckllm.experts.routers.nearest import NearestScorer
from ckllm.experts.routers.scoring import ScoredRouter
from ckllm.experts.routers.training import FOLDS, calibrate, embed_questions, figures, read_router_rows, stratified_folds

SCORERS: dict[str, Any] = {"raw-mean": RawMeanScorer, "centroid": CentroidScorer, "nearest": NearestScorer, "head": HeadScorer}
REWORDINGS: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "no punctuation": lambda text: re.sub(r"[^\w\s]", " ", text),
    "polite": lambda text: f"Could you please help me with this: {text}",
    "typing errors": lambda text: re.sub(r"\b(\w{2})(\w)(\w)(\w{2,})\b", r"\1\3\2\4", text, count=3),
}


def held_out(scorer: Any, texts: list[str], vectors: Any, gold: list[str]) -> tuple[Any, tuple[str, ...]]:
    """Cross-validated logits (rows, labels)."""
    labels = tuple(sorted(set(gold)))
    folds, logits = stratified_folds(gold, FOLDS, 0), np.full((len(gold), len(labels)), -30.0)
    for number in range(FOLDS):
        rest, part = np.flatnonzero(folds != number).tolist(), np.flatnonzero(folds == number).tolist()
        fitted = scorer.fit([texts[n] for n in rest], vectors[rest], [gold[n] for n in rest])
        columns = [labels.index(label) for label in fitted.labels]
        logits[np.ix_(part, columns)] = fitted.logits([texts[n] for n in part], vectors[part])
    return logits, labels


def router(args: argparse.Namespace) -> None:
    embedder = open_embedder(EmbeddingSettings(), args.models)
    (train, _), (test, _) = read_router_rows(args.train), read_router_rows(args.test)
    texts, gold = [row.prompt for row in train], [row.label for row in train]
    asked = [row.prompt for row in test]
    vectors, questions = embed_questions(embedder, texts), embed_questions(embedder, asked)
    sample = random.Random(0).sample(range(len(asked)), min(args.reworded, len(asked)))
    reworded = {name: [change(asked[n]) for n in sample] for name, change in REWORDINGS.items()}
    moved = {name: embed_questions(embedder, changed) for name, changed in reworded.items()}
    results = {}
    for name, scorer in SCORERS.items():
        logits, labels = held_out(scorer, texts, vectors, gold)
        temperature, threshold, _ = calibrate(train, logits, labels)
        fitted = scorer.fit(texts, vectors, gold)
        table = np.exp(_log_softmax(fitted.logits(asked, questions) / temperature))
        result = figures(test, fitted.labels, table, threshold)
        routing = ScoredRouter(_Calibrated(fitted, temperature), threshold, lambda: embedder)
        result |= _timed(routing, asked, questions)
        before = [route.expert for route in routing.route_vectors([RouteRequest(asked[n]) for n in sample], questions[sample])]
        result["unchanged_when_reworded"] = {
            change: _same(before, routing.route_vectors([RouteRequest(text) for text in reworded[change]], moved[change]))
            for change in REWORDINGS
        } if sample else {}  # fmt: skip
        result.pop("confusion")
        results[name] = result
        print(f"{name:>9}: macro-F1 {result['macro_f1']:.3f} (forced {result['macro_f1_without_abstention']:.3f}), accuracy "
              f"{result['accuracy']:.3f}, AUROC {result['out_of_scope_auroc']:.3f}, ECE {result['calibration_error']:.3f}, p95 "
              f"{result['p95_ms']:.1f} ms, reworded {result['unchanged_when_reworded']}", flush=True)  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps({"test_rows": len(test), "routers": results}, indent=1), encoding="utf-8")


def _same(before: list[str], after: list[Any]) -> float:
    return float(np.mean([expert == route.expert for expert, route in zip(before, after, strict=True)]))


class _Calibrated:
    """A scorer at its temperature."""

    def __init__(self, scorer: Any, temperature: float) -> None:
        self._scorer, self._temperature = scorer, temperature
        self.labels, self.strategy = scorer.labels, scorer.strategy

    def probabilities(self, texts: Any, vectors: Any) -> Any:
        return np.exp(_log_softmax(self._scorer.logits(texts, vectors) / self._temperature))


def _log_softmax(logits: Any) -> Any:
    raised = logits - logits.max(axis=1, keepdims=True)
    return raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))


def _timed(routing: ScoredRouter, texts: list[str], vectors: Any) -> dict[str, float]:
    """Process time a question, beyond the embedding."""
    took = []
    for number, text in enumerate(texts[:300]):
        began = time.process_time()
        routing.route_vectors([RouteRequest(text)], vectors[number : number + 1])
        took.append(1000 * (time.process_time() - began))
    return {"p50_ms": float(np.quantile(took, 0.5)), "p95_ms": float(np.quantile(took, 0.95))}


def packing(args: argparse.Namespace) -> None:
    """Tokens with and without shared prefixes, and that the loss is the same."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ckllm.experts.training.loss import answer_losses
    from ckllm.experts.training.packing import Pack, pack
    from ckllm.experts.training.rows import examples, read_rows

    tokenizer = AutoTokenizer.from_pretrained(args.base, local_files_only=True)
    found = list(examples(read_rows(args.data)[0], tokenizer, 1000))
    packs = pack(found, 960)
    alone_tokens = sum(len(e.tokens) for e in found)
    print(f"{len(found)} examples, {alone_tokens} tokens alone, {sum(p.size for p in packs)} in {len(packs)} packs")
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32, local_files_only=True)
    one = min((p for p in packs if len(p.examples) >= 6), key=lambda p: p.size)
    with torch.no_grad():
        began = time.process_time()
        together = answer_losses(model, one)[0]
        middle = time.process_time()
        alone = torch.cat([answer_losses(model, Pack((e,), 0))[0] for e in one.examples])
    print(f"a pack of {len(one.examples)}: {middle - began:.1f} s against {time.process_time() - middle:.1f} s alone, "
          f"largest difference of a token's loss {(together - alone).abs().max():.1e}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("router")
    command.set_defaults(run=router)
    command.add_argument("--train", type=Path, required=True)
    command.add_argument("--test", type=Path, required=True)
    command.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "ckllm-models")
    command.add_argument("--reworded", type=int, default=100)
    command.add_argument("--out", type=Path)
    command = commands.add_parser("packing")
    command.set_defaults(run=packing)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--base", type=Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
