"""Evaluation folders for the benchmarks of search and answers, and figures of merit over them.

A folder holds `corpus.jsonl` (`{"id","title","text","lang"}`) and `questions.jsonl` (`{"id","question","answers","answerable",
"evidence":[{"doc","start","end","text"}]}`; an unanswerable one may name its `paired_doc`). Offsets count code points in the
row's text.
"""

from __future__ import annotations

import json
import random
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckllm.knowledge_base import KnowledgeBase


@dataclass(frozen=True, slots=True)
class Gold:
    """Evidence, placed in the file that was written for its article."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    answers: tuple[str, ...]
    answerable: bool
    article: str
    evidence: tuple[Gold, ...]


def load(folder: Path, articles: Sequence[str] = (), limit: int = 0, seed: int = 7) -> tuple[dict[str, str], list[Question]]:
    """(file name → text, one Markdown file an article), and a seeded sample of as many answerable as unanswerable questions."""
    rows = {row["id"]: row for row in _rows(folder / "corpus.jsonl")}
    titles = {key: row.get("title") or key for key, row in rows.items()}
    chosen = {title for title in titles.values() if not articles or title in articles}
    files: dict[str, str] = {}
    for key, row in rows.items():
        if titles[key] in chosen:
            name = _file(titles[key])
            files[name] = files.get(name, f"# {titles[key]}\n") + "\n" + row["text"] + "\n"
    questions = [_question(row, titles) for row in _rows(folder / "questions.jsonl")]
    return files, _sampled([question for question in questions if question.article in chosen], limit, seed)


def ingest(kb: KnowledgeBase, files: Mapping[str, str], folder: Path) -> None:
    from ingestion import ingest as ingest_sources

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    report = ingest_sources([str(folder)], kb)
    assert not report.rejected, report.rejected


def holds(source: str, text: str, gold: Gold) -> bool:
    """Whether a passage shows the evidence."""
    return Path(source).name == gold.file and _squeezed(gold.text) in _squeezed(text)


def f1(answer: str, golds: Iterable[str]) -> float:
    """Best token F1 (Rajpurkar et al. 2016)."""
    return max((_f1(_tokens(answer), _tokens(gold)) for gold in golds), default=0.0)


def mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(sum(known) / len(known), 4) if known else None


def percentile(values: Sequence[float], share: float) -> float | None:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3) if values else None


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _question(row: Mapping[str, Any], titles: Mapping[str, str]) -> Question:
    evidence = row.get("evidence") or []
    document = evidence[0]["doc"] if evidence else row.get("paired_doc", "")
    placed = tuple(Gold(_file(titles[entry["doc"]]), entry["text"]) for entry in evidence if entry.get("text"))
    answers = tuple(row.get("answers") or ())
    return Question(row["id"], row["question"], answers, bool(row.get("answerable", True)), titles.get(document, ""), placed)


def _sampled(questions: list[Question], limit: int, seed: int) -> list[Question]:
    draw = random.Random(seed)
    sides = [[question for question in questions if question.answerable is side] for side in (True, False)]
    return [question for side in sides for question in (draw.sample(side, limit) if 0 < limit < len(side) else side)]


def _file(title: str) -> str:
    return re.sub(r"\W+", "-", title).strip("-").lower() + ".md"


def _squeezed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _tokens(text: str) -> list[str]:
    plain = "".join(" " if c in string.punctuation or unicodedata.category(c)[0] == "P" else c for c in text.lower())
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _f1(said: list[str], gold: list[str]) -> float:
    same = sum((Counter(said) & Counter(gold)).values())
    return 2 * same / (len(said) + len(gold)) if said and gold else float(said == gold)
