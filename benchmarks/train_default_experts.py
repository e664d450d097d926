"""Trains the experts that ship with the package, and measures them against the base model on documents held out.

    python benchmarks/train_default_experts.py data  --eval DIR --out WORK
    python benchmarks/train_default_experts.py train --base MODEL_DIR --out WORK [--name EXPERT]
    python benchmarks/train_default_experts.py score --base MODEL_DIR --out WORK [--adapter DIR] [--limit N]

DIR holds question-answering sets as `SET/corpus.jsonl` and `SET/questions.jsonl`. What was trained is put into the package by
`benchmarks/score_experts.py`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from ckllm.contracts import Hit
from ckllm.prompting.grounded import grounded_messages

VALIDATION = {"1973 oil crisis", "Rhine"}
TEST = {"Harvard University", "Chloroplast", "Martin Luther"}
NOT_STATED = "Not stated."


def load(folder: Path, name: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    def rows(file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name / file).read_text(encoding="utf-8").splitlines()]

    return {row["id"]: row for row in rows("corpus.jsonl")}, rows("questions.jsonl")


def part_of(title: str, name: str) -> str:
    """Articles of squad2 and xquad by title, the same in every language; others by a hash of their title."""
    if name.startswith(("squad2", "xquad")):
        return "validation" if title in VALIDATION else "test" if title in TEST else "train"
    return ("validation", "test", *["train"] * 8)[int(hashlib.sha256(title.encode()).hexdigest(), 16) % 10]


def hit(row: dict[str, Any], rank: int, title: bool) -> Hit:
    return Hit(rank=rank, score=0.0, text=row["text"], source="", title=row["title"] if title else "", page=None, section="",
               start=0, end=len(row["text"]), document_id=row["id"], chunk_id=row["id"], found_by=())  # fmt: skip


def groups(
    corpus: dict[str, Any], questions: list[dict[str, Any]], name: str, part: str, rng: random.Random, counts: list[int]
) -> Any:
    """Passages shown together (of one article where it has several), and the questions that were asked about one of them."""
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for question in questions:
        of[question["evidence"][0]["doc"] if question["answerable"] else question["paired_doc"]].append(question)
    by_title: dict[str, list[str]] = defaultdict(list)
    for key, row in corpus.items():
        if part_of(row["title"], name) == part:
            by_title[row["title"]].append(key)
    asked = [[k for k in keys if k in of] for keys in by_title.values() if len(keys) >= 3]
    lone = [k for keys in by_title.values() if len(keys) < 3 for k in keys if k in of]
    for keys in [*asked, lone]:
        rng.shuffle(keys)
        while keys:
            size = rng.choice(counts)
            shown, keys[:] = keys[:size], keys[size:]
            about = [q for k in shown for q in of[k]]
            able = [q for q in about if q["answerable"]]
            unable = [q for q in about if not q["answerable"]]
            yield [corpus[k] for k in shown], able if part == "train" else able + unable


def rows_for(folder: Path, name: str, part: str, seed: int, counts: list[int]) -> list[dict[str, Any]]:
    rng = random.Random(f"{seed}/{name}/{part}")
    corpus, questions = load(folder, name)
    rows = []
    for passages, asked in groups(corpus, questions, name, part, rng, counts):
        titled = rng.random() < 0.7
        hits = [hit(row, rank, titled) for rank, row in enumerate(passages, 1)]
        for question in asked:
            messages = [{"role": m.role, "content": m.content} for m in grounded_messages(question["question"].strip(), hits)]
            answer = min(question["answers"], key=len) if question["answerable"] else NOT_STATED
            if part == "validation" and not question["answerable"]:
                continue
            rows.append({
                "messages": [*messages, {"role": "assistant", "content": answer}],
                "source": f"{name}/{passages[0]['title']}", "weight": 1.0, "answers": question["answers"], "set": name,
            })  # fmt: skip
    return rows


def data(args: argparse.Namespace) -> None:
    """Two arrangements of squad2's passages, one of xquad's and tydiqa's. Validation and test: two passages a question.

    Only the test holds questions without an answer: a model of this size does not learn to tell them (docs/decisions.md).
    """
    args.out.mkdir(parents=True, exist_ok=True)
    folder, several = args.eval, [1, 2, 2, 2, 3]
    training = [
        row
        for name, seed in (("squad2", 1), ("squad2", 2), ("xquad/en", 1), ("tydiqa/en", 1))
        for row in rows_for(folder, name, "train", seed, several)
    ]
    parts = {"train": training}
    for part in ("validation", "test"):
        parts[part] = [row for name in ("squad2", "xquad/en", "tydiqa/en") for row in rows_for(folder, name, part, 0, [2])]
    for part, rows in parts.items():
        file = args.out / f"qa.{part}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        none = sum(not row["answers"] for row in rows)
        print(f"{file}: {len(rows)} rows, {none} unanswerable, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")


def train(args: argparse.Namespace) -> None:
    from transformers import AutoTokenizer

    from ckllm.experts.training.loop import Progress, Trainer, TrainingOptions
    from ckllm.experts.training.lora import save_adapter, with_adapter
    from ckllm.experts.training.rows import examples, read_rows

    options = TrainingOptions(
        rank=8, alpha=16, first_layer=args.first_layer, epochs=args.epochs, learning_rate=args.learning_rate,
        most_steps=args.steps, pack_tokens=args.pack_tokens, packs_per_step=1, max_tokens=1000,
        evaluate_every=args.evaluate_every, checkpoint_every=5, patience=4,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(args.base, local_files_only=True)
    parts = [
        list(examples(read_rows(args.out / f"{args.name}.{part}.jsonl")[0], tokenizer, options.max_tokens))
        for part in ("train", "validation")
    ]
    held = [example for example in parts[1] if args.name != "qa" or example.source.startswith("squad2")][: args.held]
    model = with_adapter(args.base, options)
    started = time.monotonic()

    def say(at: Progress) -> None:
        valid = "" if at.validation_loss is None else f" validation {at.validation_loss:.4f}"
        done = f"{time.monotonic() - started:.0f}s step {at.step}/{at.steps} loss {at.loss:.4f}{valid}"
        print(f"{done} left {at.seconds_left / 60:.0f} min", file=sys.stderr, flush=True)
        if at.validation_loss is not None:
            save_adapter(model, args.out / f"{args.name}.step{at.step}")

    outcome = Trainer(model, args.out / f"{args.name}.run", options).run(parts[0], held, say)
    save_adapter(model, args.out / args.name)
    print(outcome)


class Reader:
    """Greedy answers with the prefix of each group of questions read once."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).merge_and_unload()
        self.model.eval()
        self.refusal = self.tokenizer.encode(NOT_STATED)[0]

    def prompt(self, row: dict[str, Any]) -> list[int]:
        text = self.tokenizer.apply_chat_template(row["messages"][:-1], add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def answers(self, rows: list[dict[str, Any]], most: int, may_refuse: bool) -> Any:
        """(row, answer, probability that the first token begins a refusal) of rows that are sorted by their passages."""
        prefix: list[int] = []
        cache: Any = None
        prompts = [self.prompt(row) for row in rows]
        for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            if cache is None or prompt[: len(prefix)] != prefix:
                after = prompts[number + 1] if number + 1 < len(prompts) else prompt
                shared = next((at for at, (a, b) in enumerate(zip(prompt, after, strict=False)) if a != b), len(prompt) - 1)
                prefix = prompt[: shared if shared > 150 else len(prompt) - 1]
                with self.torch.no_grad():
                    cache = self.model(self.torch.tensor([prefix]), use_cache=True).past_key_values
            yield row, *self._continue(copy.deepcopy(cache), prompt[len(prefix) :], most, may_refuse)

    def _continue(self, cache: Any, rest: list[int], most: int, may_refuse: bool) -> tuple[str, float]:
        made: list[int] = []
        refusing = 0.0
        feed = rest
        with self.torch.no_grad():
            for step in range(most):
                logits = self.model(self.torch.tensor([feed]), past_key_values=cache, use_cache=True).logits[0, -1]
                if step == 0:
                    refusing = float(logits.softmax(-1)[self.refusal])
                    if not may_refuse:
                        logits[self.refusal] = -math.inf
                token = int(logits.argmax())
                if token == self.tokenizer.eos_token_id:
                    break
                made.append(token)
                feed = [token]
        return self.tokenizer.decode(made, skip_special_tokens=True).strip(), refusing


def score(args: argparse.Namespace) -> None:
    """Answers to the test questions, of the base model and of the adapter; written as JSON Lines, summed up as JSON."""
    from ckllm.experts.evaluation import token_f1

    rows = [json.loads(line) for line in (args.out / f"qa.{args.part}.jsonl").read_text(encoding="utf-8").splitlines()]
    if args.limit:
        chosen = random.Random(1).sample(range(len(rows)), min(args.limit, len(rows)))
        rows = [rows[n] for n in sorted(chosen)]
    reader = Reader(args.base, args.adapter)
    name = args.adapter.name if args.adapter else "base"
    results = []
    with (args.out / f"{name}.{args.part}.answers.jsonl").open("w", encoding="utf-8") as file:
        for row, answer, refusing in reader.answers(rows, 48 if args.adapter is None else 24, args.adapter is None):
            f1 = max((token_f1(answer, one) for one in row["answers"]), default=0.0)
            result = {"set": row["set"], "answerable": bool(row["answers"]), "answer": answer, "f1": f1, "refusing": refusing}
            results.append(result)
            file.write(json.dumps(result | {"references": row["answers"][:3]}, ensure_ascii=False) + "\n")
            file.flush()
    summary = {"model": name, "part": args.part, **summed(results)}
    (args.out / f"{name}.{args.part}.scores.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    print(json.dumps(summary, indent=1))


def summed(results: list[dict[str, Any]]) -> dict[str, Any]:
    """F1 with its bootstrap interval; how well the probability of refusing tells the unanswerable apart, and the trade-off."""
    import numpy as np

    from ckllm.experts.routers.measures import auroc

    able = [r for r in results if r["answerable"]]
    unable = [r for r in results if not r["answerable"] and r["set"] == "squad2"]
    f1 = np.array([r["f1"] for r in able])
    rng = np.random.default_rng(0)
    means = [f1[rng.integers(len(f1), size=len(f1))].mean() for _ in range(2000)]
    doubt = [np.array([r["refusing"] for r in side]) for side in (able, unable)]
    curve = []
    for threshold in np.unique(np.quantile(np.concatenate(doubt), np.linspace(0.02, 0.98, 25))):
        answered = doubt[0] < threshold
        false, recall = 1 - float(answered.mean()), float((doubt[1] >= threshold).mean()) if unable else 0.0
        curve.append({"threshold": float(threshold), "f1": float((f1 * answered).mean()), "false_refusal": false,
                      "refusal_recall": recall, "balanced": (recall + 1 - false) / 2})  # fmt: skip
    return {
        "answerable": len(able), "unanswerable": len(unable), "f1": float(f1.mean()),
        "f1_interval": [float(np.quantile(means, q)) for q in (0.025, 0.975)],
        "exact": float((f1 == 1).mean()), "mean_words": float(np.mean([len(r["answer"].split()) for r in able])),
        "by_set": {name: [sum(r["set"] == name for r in able), float(np.mean([r["f1"] for r in able if r["set"] == name]))]
                   for name in sorted({r["set"] for r in able})},
        "refusal_auroc": auroc(doubt[1], doubt[0]), "curve": curve,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("data", data), ("train", train), ("score", score)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--eval", type=Path)
        command.add_argument("--name", default="qa", help="which expert; the rows of others are made by scripts of their own")
        command.add_argument("--base", type=Path)
        command.add_argument("--epochs", type=int, default=1)
        command.add_argument("--steps", type=int, default=120)
        command.add_argument("--pack-tokens", type=int, default=960)
        command.add_argument("--first-layer", type=int, default=8)
        command.add_argument("--learning-rate", type=float, default=6e-4)
        command.add_argument("--held", type=int, default=64, help="rows of validation that are looked at")
        command.add_argument("--evaluate-every", type=int, default=30, help="steps")
        command.add_argument("--adapter", type=Path)
        command.add_argument("--part", choices=("validation", "test"), default="test")
        command.add_argument("--limit", type=int)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
