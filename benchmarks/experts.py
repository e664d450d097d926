"""Measures routers, and what sharing prefixes saves in training.

    python benchmarks/experts.py router  --train FILE --test FILE [--routers NAME …] [--models DIR] [--reworded N] [--cache DIR]
                                         [--out FILE]
    python benchmarks/experts.py packing --data FILE --base MODEL_DIR

`router` trains every router on `--train` only, calibrates it there, and reports on `--test`: macro-F1 (labels with ten rows
or more) with a 95 % interval, its distance from raw means, out-of-scope AUROC, the share of out-of-scope questions that are
given back, calibration error, time a question beyond the embedding, how often a reworded question keeps its route, seconds
of training and the largest memory. `--cache` keeps embeddings between runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.config import EmbeddingSettings
from ckllm.embedding.table import open_embedder
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.routers.centroid import CentroidScorer, RawMeanScorer
from ckllm.experts.routers.head import HeadScorer
from ckllm.experts.routers.held_out import Examples, held_out, parts_held_out
from ckllm.experts.routers.measures import macro_f1
from ckllm.experts.routers.nearest import NearestScorer
from ckllm.experts.routers.report import figures, judge
from ckllm.experts.routers.rewording import MEASURED
from ckllm.experts.routers.scoring import ScoredRouter
from ckllm.experts.routers.training import embed_questions, read_router_rows, timed

ROUTERS: dict[str, Any] = {
    "raw-mean": RawMeanScorer.fit,
    "logistic": HeadScorer.fit,
    "mlp": partial(HeadScorer.fit, kind="mlp"),
    "centroid": CentroidScorer.fit,
    "nearest": NearestScorer.fit,
}
RESAMPLED = 1_000


def router(args: argparse.Namespace) -> None:
    embedder = open_embedder(EmbeddingSettings(), args.models)
    (train, _), (test, _) = read_router_rows(args.train), read_router_rows(args.test)

    def embedded(texts: list[str]) -> Any:
        key = hashlib.sha256(json.dumps([embedder.name, texts]).encode()).hexdigest()[:16]
        file = args.cache / f"{key}.npy" if args.cache else None
        if file is None or not file.is_file():
            vectors = embed_questions(embedder, texts)
            if file is None:
                return vectors
            args.cache.mkdir(parents=True, exist_ok=True)
            np.save(file, vectors)
        return np.load(file)

    texts, asked = [row.prompt for row in train], [row.prompt for row in test]
    examples = Examples(texts, embedded(texts), [row.label for row in train])
    gold, langs = [row.label for row in test], [row.lang for row in test]
    questions, parts = embedded(asked), parts_held_out(examples.gold, 0)
    sample = random.Random(0).sample(range(len(asked)), min(args.reworded, len(asked)))
    reworded = {name: [change(asked[n]) for n in sample] for name, change in MEASURED.items()} if sample else {}
    moved = {name: embedded(changed) for name, changed in reworded.items()}
    results: dict[str, Any] = {}
    said: dict[str, list[str]] = {}
    for name in dict.fromkeys(("raw-mean", *args.routers)):
        fit = ROUTERS[name]
        judged = judge(held_out(fit, examples, parts), examples.gold, [row.lang for row in train], {})
        began = time.perf_counter()
        fitted = replace(fit(texts, examples.vectors, examples.gold), temperature=judged.temperature)
        took = time.perf_counter() - began
        result = figures(gold, langs, fitted.labels, fitted.probabilities(asked, questions), judged.threshold)
        routing = ScoredRouter(fitted, judged.threshold, lambda: embedder)
        said[name] = [route.expert for route in routing.route_vectors([RouteRequest(text) for text in asked], questions)]
        result["fit_s"], result["beyond_embedding_ms"] = took, timed(routing, asked, questions)
        result["unchanged_when_reworded"] = {
            change: float(np.mean([said[name][n] == route.expert for n, route in zip(
                sample, routing.route_vectors([RouteRequest(text) for text in reworded[change]], moved[change]), strict=True)]))
            for change in reworded
        }  # fmt: skip
        result["macro_f1_interval"], result["above_raw_means_interval"] = intervals(gold, said[name], said["raw-mean"], result)
        result.pop("confusion")
        results[name] = result
        _say(name, result)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{len(test)} test rows, {len(examples.texts)} to train on, largest memory {peak} MB")
    if args.out:
        found = {"train_rows": len(train), "test_rows": len(test), "peak_mb": peak, "routers": results}
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def intervals(gold: list[str], said: list[str], raw: list[str], result: dict[str, Any]) -> tuple[Any, Any]:
    """95 % of resampled test sets: macro-F1, and points above raw means."""
    known, rng = result["labels_counted"], np.random.default_rng(0)
    rows = np.array([n for n, label in enumerate(gold) if label in known])
    own, others = [], []
    for _ in range(RESAMPLED if len(known) < 50 else RESAMPLED // 10):
        drawn = rng.choice(rows, len(rows))
        meant = [gold[n] for n in drawn]
        own.append(macro_f1(meant, [said[n] for n in drawn], known))
        others.append(macro_f1(meant, [raw[n] for n in drawn], known))
    apart = 100 * (np.array(own) - np.array(others))
    return tuple(np.quantile(own, (0.025, 0.975)).tolist()), tuple(np.quantile(apart, (0.025, 0.975)).tolist())


def _say(name: str, result: dict[str, Any]) -> None:
    low, high = result["macro_f1_interval"]
    print(f"{name:>9}: macro-F1 {result['macro_f1']:.3f} ({low:.3f} to {high:.3f}; without abstention "
          f"{result['macro_f1_without_abstention']:.3f}), accuracy {result['accuracy']:.3f}, AUROC "
          f"{result['out_of_scope_auroc']:.3f}, "
          f"{BASE} for out of scope {result['abstention']:.3f}, for others {result['false_abstention']:.3f}, ECE "
          f"{result['calibration_error']:.3f}, {result['beyond_embedding_ms']} ms, fit {result['fit_s']:.1f} s, reworded "
          f"{result['unchanged_when_reworded']}", flush=True)  # fmt: skip


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
    command.add_argument("--routers", nargs="+", choices=ROUTERS, default=list(ROUTERS))
    command.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "ckllm-models")
    command.add_argument("--reworded", type=int, default=100)
    command.add_argument("--cache", type=Path)
    command.add_argument("--out", type=Path)
    command = commands.add_parser("packing")
    command.set_defaults(run=packing)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--base", type=Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
