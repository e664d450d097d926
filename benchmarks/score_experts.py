"""Scores the experts that ship beside the base model on test rows, with the product's engine, and puts them into the package.

    python -m benchmarks.score_experts answer NAME --models DIR --out WORK [--as base|qa|NAME] [--rows N]
    python -m benchmarks.score_experts report NAME --out WORK [--against base]
    python -m benchmarks.score_experts through reasoning --out WORK --home DIR [--as base,qa,reasoning] [--rows N]
    python -m benchmarks.score_experts ship   NAME --models DIR --out WORK --command COMMAND

`answer` writes greedy answers of one of them to the first N rows of `WORK/NAME.test.jsonl`, `report` compares two; the trained
adapter is `WORK/NAME`. `through` asks the first rows of the whole product, from ingestion to the checked answer. `ship` refuses
an expert whose gain over the base model is not surely above 0: in F1, for `explain` in the sentences of the evidence it rests on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.checking import check
from ckllm.citations.verification import TrainedVerifier
from ckllm.contracts import Evidence, Hit, Message, Quote
from ckllm.evaluation.metrics import paired_bootstrap, words
from ckllm.experts.base import BASE
from ckllm.experts.card import ADAPTER, CONFIG, Card, write_card
from ckllm.experts.evaluation import Task, compare, scores
from ckllm.experts.registry import SHIPPED
from ckllm.file_hash import file_sha256

GROUND = {"explain": "gain_evidence"}
BASE_MODEL = "smollm2-135m-instruct"
MOST_TOKENS = {"qa": 24, "explain": 64, "code": 32, "reasoning": 64}
"""Of an answer; 64 is the product's default."""
DESCRIPTIONS = {
    "qa": "shortest exact answers to questions about passages",
    "explain": "answers of several sentences in the words of the passages",
    "code": "shortest exact answers to questions about source code",
    "reasoning": "the two facts of the passages that a comparison takes",
}
LICENCES = {"qa": "CC-BY-SA-4.0", "explain": "CC-BY-SA-4.0", "code": "PSF-2.0", "reasoning": "Apache-2.0"}
SETS = {
    "qa": {"squad2, xquad/en": "CC BY-SA 4.0, articles that are in neither other part",
           "tydiqa/en": "Apache-2.0, articles that are in neither other part"},
    "explain": {"clapnq": "Apache-2.0, passages that are in neither other part", "chunk_spans": "MIT, two documents",
                "squad2, xquad/en": "CC BY-SA 4.0, articles that are in neither other part",
                "tydiqa/en": "Apache-2.0, articles that are in neither other part"},
    "code": {"Python's standard library": "PSF-2.0, modules that are in neither other part"},
    "reasoning": {"made from templates": "of this project, families that are in neither other part"},
}  # fmt: skip


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_rows(out: Path, name: str) -> list[dict[str, Any]]:
    """Those that have an answer: how refusing is traded against answering, `train_default_experts.py score` measures."""
    return [row for row in read(out / f"{name}.test.jsonl") if row["answers"]]


def answer(args: argparse.Namespace) -> None:
    """Greedy answers, written as they come; those of an earlier run that was stopped are kept."""
    from ckllm.llm.base import GenerationRequest
    from ckllm.llm.openvino import OpenVinoLLM
    from ckllm.llm.table import openvino_folder

    rows = test_rows(args.out, args.name)[: args.rows]
    folder = args.out / args.who if args.who == args.name else SHIPPED / args.who
    adapters = {} if args.who == BASE else {str(folder): 1.0}
    file = args.out / f"{args.name}.{args.who}.answers.jsonl"
    done = len(read(file)) if file.exists() else 0
    with (
        OpenVinoLLM(openvino_folder(args.models), model_id=BASE_MODEL, threads=args.threads) as llm,
        file.open("a", encoding="utf-8") as out,
    ):
        for row in rows[done:]:
            messages = tuple(Message(**turn) for turn in row["messages"][:-1])
            request = GenerationRequest(messages=messages, max_tokens=MOST_TOKENS[args.name], adapters=adapters)
            with llm.generate_stream(request) as stream:
                said = stream.text().strip()
            out.write(json.dumps({"answer": said}, ensure_ascii=False) + "\n")
            out.flush()
    print(f"{file}: {len(rows)} answers")


def figures(out: Path, name: str, against: str = BASE) -> dict[str, Any]:
    """Scores of expert and the other on the rows that both have answered, with the interval of the gain in F1."""
    rows = test_rows(out, name)
    said = {who: [one["answer"] for one in read(out / f"{name}.{who}.answers.jsonl")] for who in (name, against)}
    rows = rows[: min(map(len, said.values()))]
    tasks = [Task(tuple(Message(**turn) for turn in row["messages"][:-1]), tuple(row["answers"])) for row in rows]
    of = {who: scores(answers[: len(rows)], [task.references for task in tasks]) for who, answers in said.items()}
    found = compare(tasks, of[name], of[against])
    each: dict[str, list[float]] = {}
    for part, who in (("expert", name), (BASE, against)):
        answers = said[who][: len(rows)]
        if name == "explain":
            found[part] |= grounding(rows, answers)
            each[part] = evidence_found(rows, answers)
        elif name == "reasoning":
            found[part] |= both_facts(rows, answers)
        elif name == "code":
            found[part] |= exact_as_written(rows, answers)
    if each:
        found["gain_evidence"] = {
            key: round(value, 4) for key, value in asdict(paired_bootstrap(each[BASE], each["expert"])).items()
        }
    return found if against == BASE else found | {"against": against}


def index_of(row: dict[str, Any]) -> EvidenceIndex:
    hits = [Hit(rank=n, score=0.0, text=one["text"], source="", title=one["title"], page=None, section="", start=0,
                end=len(one["text"]), document_id=str(n), chunk_id=str(n), found_by=(), lang="en")
            for n, one in enumerate(row["evidence"], 1)]  # fmt: skip
    return EvidenceIndex([Evidence(hit.rank, hit, True) for hit in hits])


def evidence_found(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Of each row, the share of the sentences behind the annotator's answer that supported sentences of the answer rest on."""
    found = []
    for row, said in zip(rows, answers, strict=True):
        right, used = _behind(row, said)
        found.append(len(used & right) / len(right) if right else 0.0)
    return found


def _behind(row: dict[str, Any], said: str) -> tuple[set[Quote], set[Quote]]:
    """Sentences of the evidence behind the annotator's answer, and behind the supported sentences of `said`."""
    index, verifier = index_of(row), TrainedVerifier()
    right, used = (
        {quote for claim in check(text, index, verifier) if claim.supported for quote in claim.quotes}
        for text in (row["answers"][0], said)
    )
    return right, used


def grounding(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> dict[str, float]:
    """Share of the sentences that the product's verifier supports, and how well the sentences that they rest on are those of
    the annotator's answer (means over the rows); ROUGE-L (Lin 2004).
    """
    verifier = TrainedVerifier()
    supported, sentences = 0, 0
    precision, recall, rouge = [], [], []
    for row, said in zip(rows, answers, strict=True):
        index = index_of(row)
        claims = check(said, index, verifier)
        supported, sentences = supported + sum(claim.supported for claim in claims), sentences + len(claims)
        right, used = _behind(row, said)
        if right:
            precision.append(len(used & right) / len(used) if used else 0.0)
            recall.append(len(used & right) / len(right))
        rouge.append(max(rouge_l(words(said), words(one)) for one in row["answers"]))
    return {
        "supported": round(supported / max(1, sentences), 4), "sentences": sentences,
        "evidence_precision": round(sum(precision) / len(precision), 4), "evidence_recall": round(sum(recall) / len(recall), 4),
        "rouge_l": round(sum(rouge) / len(rouge), 4),
    }  # fmt: skip


def rouge_l(said: Sequence[str], meant: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of words."""
    row = [0] * (len(meant) + 1)
    for word in said:
        before = 0
        for n, other in enumerate(meant, 1):
            before, row[n] = row[n], before + 1 if word == other else max(row[n], row[n - 1])
    return 2 * row[-1] / (len(said) + len(meant)) if said and meant else 0.0


def both_facts(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> dict[str, float]:
    """Share of the answers of which the verifier supports sentences that rest on both facts; and of supported sentences."""
    verifier = TrainedVerifier()
    both = supported = sentences = 0
    for row, said in zip(rows, answers, strict=True):
        claims = check(said, index_of(row), verifier)
        supported, sentences = supported + sum(claim.supported for claim in claims), sentences + len(claims)
        quotes = {quote.text for claim in claims if claim.supported for quote in claim.quotes}
        both += set(row["facts"]) <= quotes
    return {"both_facts": round(both / len(rows), 4), "supported": round(supported / max(1, sentences), 4)}


def exact_as_written(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> dict[str, Any]:
    """Share of answers that are right to the sign, quotation marks of code and a full stop apart; and by kind."""
    right = [_bare(said) in {_bare(one) for one in row["answers"]} for row, said in zip(rows, answers, strict=True)]
    kinds = sorted({row["set"] for row in rows})
    by_kind = {kind: [one for one, row in zip(right, rows, strict=True) if row["set"] == kind] for kind in kinds}
    unseen = [one for one, row in zip(right, rows, strict=True) if not row["seen_wording"]]
    return {
        "as_written": round(sum(right) / len(right), 4),
        "as_written_in_new_wordings": round(sum(unseen) / max(1, len(unseen)), 4),
        "by_kind": {kind: [len(found), round(sum(found) / len(found), 4)] for kind, found in by_kind.items()},
    }  # fmt: skip


def _bare(text: str) -> str:
    return "".join(text.replace("`", "").rstrip(".").split())


def report(args: argparse.Namespace) -> None:
    print(json.dumps(figures(args.out, args.name, args.against), indent=1))


def through(args: argparse.Namespace) -> None:
    """How many answers cite both facts, of each expert, where their passages are documents of one knowledge base."""
    from benchmarks.questions import ingest
    from ckllm.assembly import open_knowledge_base
    from ckllm.config import load_settings

    rows = test_rows(args.out, args.name)[: args.rows]
    shown = [one for row in rows for one in row["evidence"]]
    files = {f"{one['title'].replace(' ', '-')}.md": f"# {one['title']}\n\n{one['text']}\n" for one in shown}
    experts = [{"name": args.name, "adapter": str(args.out / args.name)}] if (args.out / args.name).is_dir() else []
    settings = load_settings(
        args.home, overrides={"experts": experts, "llm.threads": args.threads, "answer.caution": args.caution}
    )
    with open_knowledge_base(settings=settings) as kb:
        ingest(kb, files, args.home / "documents")
        for who in args.who.split(","):
            answers = [kb.ask(row["question"], expert=who) for row in rows]
            cited = [{citation.quote for citation in one.citations} for one in answers]
            both = [
                all(any(fact in quote for quote in some) for fact in row["facts"]) for row, some in zip(rows, cited, strict=True)
            ]
            said = [one.answer for one in answers]
            print(json.dumps({"as": who, "rows": len(rows), "both_facts": sum(both) / len(rows), "answers": said}), flush=True)


def ship(args: argparse.Namespace) -> None:
    """Copy the adapter into the package with its card; refused where it does not gain on its own ground."""
    from ckllm.llm.table import huggingface_folder

    found = figures(args.out, args.name)
    gain = found[GROUND.get(args.name, "gain_f1")]
    if gain["low"] <= 0 or found["gain_f1"]["mean"] <= 0:
        sys.exit(f"not shipped: the gain over the base model is {gain}, in F1 {found['gain_f1']}")
    if args.name != "qa" and (args.out / f"{args.name}.qa.answers.jsonl").exists():
        other = figures(args.out, args.name, "qa")
        found |= {"qa": other[BASE], "gain_f1_over_qa": other["gain_f1"]}
    target = SHIPPED / args.name
    target.mkdir(parents=True, exist_ok=True)
    for file in (ADAPTER, CONFIG):
        shutil.copyfile(args.out / args.name / file, target / file)
    data = args.out / f"{args.name}.train.jsonl"
    write_card(Card(
        name=args.name, description=DESCRIPTIONS[args.name], base_model=BASE_MODEL,
        base_sha256=file_sha256(huggingface_folder(args.models) / "model.safetensors"),
        adapter_sha256=file_sha256(target / ADAPTER),
        config_sha256=file_sha256(target / CONFIG), languages=("en",), licence=LICENCES[args.name], revision="1", scores=found,
        training={
            "data_sha256": file_sha256(data), "rows": len(read(data)), "sets": SETS[args.name],
            "test_sha256": file_sha256(args.out / f"{args.name}.test.jsonl"), "command": args.command,
            "note": args.note,
        },
    ), target)  # fmt: skip
    print(f"shipped to {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("answer", answer), ("report", report), ("through", through), ("ship", ship)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("name", choices=sorted(MOST_TOKENS))
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--models", type=Path)
        command.add_argument("--home", type=Path)
        command.add_argument("--caution", default="balanced", choices=("strict", "balanced", "open"))
        command.add_argument("--as", dest="who", default=BASE)
        command.add_argument("--against", default=BASE)
        command.add_argument("--rows", type=int, default=60)
        command.add_argument("--threads", type=int, default=0)
        command.add_argument("--command", default="")
        command.add_argument("--note", default="", help="what else the card says of the training")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
