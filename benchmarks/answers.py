"""How good are the answers? `python -m benchmarks.answers FOLDER --articles A,B,C [--foreign D,E,F] [--limit 40]`.

Ingests the articles and asks questions on them, answerable and made to look so, and, as foreign ones, answerable questions on
articles that are not ingested. F1 is taken on the short answer where there is one, else on the answer without its markers; an
answered question counts as cited right where a quote holds, or is held by, the evidence.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.questions import Question, f1, ingest, load, mean, percentile
from ckllm.assembly import open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Answer
from ckllm.knowledge_base import KnowledgeBase

_MARKER = re.compile(r"\s*\[\d+\]")
Asked = tuple[Question, Answer]


def measure(kb: KnowledgeBase, questions: Sequence[Question], foreign: Sequence[Question]) -> dict[str, float | int | None]:
    here = [(question, kb.ask(question.text)) for question in questions]
    away = [kb.ask(question.text) for question in foreign]
    able = [(question, answer) for question, answer in here if question.answerable]
    unable = [answer for question, answer in here if not question.answerable]
    answered = [(question, answer) for question, answer in able if not answer.refused]
    kept, refused = mean(float(not answer.refused) for _, answer in able), mean(float(answer.refused) for answer in unable)
    every = [answer for _, answer in here if not answer.refused]
    return {
        "answerable": len(able), "adversarial": len(unable), "foreign": len(away),
        "f1": mean(f1(_said(answer), question.answers) for question, answer in able),
        "f1_when_answered": mean(f1(_said(answer), question.answers) for question, answer in answered),
        "holds_answer": mean(float(_holds_answer(question, answer)) for question, answer in able),
        "kept": kept, "adversarial_refused": refused, "foreign_refused": mean(float(answer.refused) for answer in away),
        "balanced_refusal": round((kept + refused) / 2, 4) if kept is not None and refused is not None else None,
        "cited_right": mean(float(_right(question, answer)) for question, answer in answered),
        "quoted": mean(float(answer.quoted) for answer in every),
        "short_answers": mean(float(answer.short_answer is not None) for answer in every),
        "first_token_p50_s": percentile([answer.timings.first_token_s for answer in every], 0.5),
        "total_p50_s": percentile([answer.timings.total_s for answer in every], 0.5),
        "verify_p95_s": percentile([answer.timings.verify_s for answer in every], 0.95),
    }  # fmt: skip


def _said(answer: Answer) -> str:
    return "" if answer.refused else answer.short_answer or _MARKER.sub("", answer.answer)


def _holds_answer(question: Question, answer: Answer) -> bool:
    return any(gold.lower() in answer.answer.lower() for gold in question.answers)


def _right(question: Question, answer: Answer) -> bool:
    quotes = [citation.quote for citation in answer.citations]
    return any(gold.text in quote or quote in gold.text for gold in question.evidence for quote in quotes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--articles", required=True, help="titles to ingest, comma-separated")
    parser.add_argument("--foreign", default="", help="titles whose questions are asked without their articles")
    parser.add_argument("--limit", type=int, default=40, help="questions of each kind")
    parser.add_argument("--caution", default="balanced", choices=("strict", "balanced", "open"))
    parser.add_argument("--home", type=Path, help="keep the knowledge base here")
    args = parser.parse_args()
    files, questions = load(args.folder, args.articles.split(","), args.limit)
    foreign = load(args.folder, args.foreign.split(","), args.limit)[1] if args.foreign else []
    with tempfile.TemporaryDirectory() as temporary:
        home = args.home or Path(temporary) / "home"
        with open_knowledge_base(settings=load_settings(home, overrides={"answer.caution": args.caution})) as kb:
            ingest(kb, files, home / "documents")
            figures = measure(kb, questions, [question for question in foreign if question.answerable])
    print(json.dumps({**circumstances(), "set": args.folder.name, "caution": args.caution, **figures}, indent=1))


if __name__ == "__main__":
    main()
