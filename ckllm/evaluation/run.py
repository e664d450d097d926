"""One evaluation: every question searched and asked, its figures kept as they are made, and the means in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckllm.asking import AskOptions
from ckllm.errors import CkllmError, DataError, StoreError
from ckllm.evaluation import metrics, scoring
from ckllm.evaluation.corpus import EvidenceMap
from ckllm.evaluation.dataset import Dataset, EvalQuestion
from ckllm.evaluation.verifying import StatementJudge, rates, summed
from ckllm.knowledge_base import KnowledgeBase

FORMAT = 1
STAGES = ("rewrite_s", "retrieve_s", "rerank_s", "route_s", "first_token_s", "generate_s", "verify_s", "total_s")
LEVELS = ("strict", "balanced", "open")
"""Of `answer.caution`."""
LOWER_IS_BETTER = ("risk_coverage_area", "latency_", "failed")
"""Beginnings of the names of figures that should be small."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question's figures."""

    id: str
    question: str
    lang: str
    answerable: bool | None
    answer: str = ""
    short_answer: str | None = None
    refused: bool | None = None
    """None where nothing was asked."""
    expected: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.0
    risk: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    unplaced: int = 0
    """Evidence items that are not in the documents as they were extracted."""
    error: str = ""
    statements: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Kind of statement → (how many of those made from the evidence the verifier accepted, how many there are)."""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"expected": list(self.expected)}


@dataclass(frozen=True, slots=True)
class Report:
    """A run as it is saved."""

    about: Mapping[str, Any]
    """Dataset with its hash, when, settings."""
    metrics: Mapping[str, float]
    counts: Mapping[str, int]
    """Questions that each figure was measured on."""
    by_language: Mapping[str, Mapping[str, float]]
    curve: Sequence[tuple[float, float]]
    """Risk–coverage: (coverage, risk) of the answers, surest first."""
    rows: Sequence[Row]
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Level of `answer.caution` → (coverage, risk) of all answers that were given at it."""
    statements: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    """Language, "" for all → kind of statement → (accepted by the verifier, statements)."""

    def as_json(self, *, rows: bool = True) -> dict[str, Any]:
        saved = {
            "format": FORMAT, "about": dict(self.about), "metrics": dict(self.metrics), "counts": dict(self.counts),
            "by_language": {lang: dict(values) for lang, values in self.by_language.items()},
            "risk_coverage": [list(point) for point in self.curve],
            "operating_points": {name: list(point) for name, point in self.points.items()},
            "statements": {lang: {kind: list(two) for kind, two in own.items()} for lang, own in self.statements.items()},
        }  # fmt: skip
        return saved | {"rows": [row.as_json() for row in self.rows]} if rows else saved


@dataclass(frozen=True, slots=True)
class Asking:
    """How the questions are asked."""

    options: AskOptions = field(default_factory=lambda: AskOptions())
    search_only: bool = False


Kept = Callable[[Row], None]
"""Called with every row as it is made."""


def evaluate(kb: KnowledgeBase, dataset: Dataset, evidence: EvidenceMap, asking: Asking, keep: Kept) -> list[Row]:
    """Every question in turn; one that fails becomes a row with its error. StoreError, which no question survives, is raised."""
    rows = []
    judge = None if asking.search_only else StatementJudge(evidence, dataset.questions)
    for question in dataset.questions:
        row = _row(kb, question, evidence, asking, judge)
        keep(row)
        rows.append(row)
    return rows


def _row(kb: KnowledgeBase, question: EvalQuestion, evidence: EvidenceMap, asking: Asking, judge: StatementJudge | None) -> Row:
    known: dict[str, Any] = {
        "id": question.id, "question": question.question, "lang": question.lang, "answerable": question.answerable,
        "expected": question.answers,
    }  # fmt: skip
    try:
        items, unplaced = evidence.items(question)
        began = time.perf_counter()
        hits = kb.search(question.question, k=scoring.DEPTH) if items or asking.search_only else []
        took = {"search_s": round(time.perf_counter() - began, 4)} if hits else {}
        scores = scoring.retrieval_scores(question, items, hits, unplaced)
        if judge is None:
            return Row(**known, scores=scores, timings=took, unplaced=unplaced)
        answer = kb.ask(question.question, **asking.options)
        statements = judge.counts(question, items, kb.verifier)
    except StoreError:
        raise
    except CkllmError as error:
        return Row(**known, scores=scoring.failed_scores(question), error=f"{type(error).__name__}: {error}")
    scores |= scoring.answer_scores(question, items, answer) | rates(statements)
    return Row(
        **known, answer=answer.answer, short_answer=answer.short_answer, refused=answer.refused, scores=scores,
        confidence=scoring.confidence(answer), risk=None if answer.refused else scoring.risk(question, scores),
        timings=took | {stage: round(value, 4) for stage, value in scoring.timings(answer).items()}, unplaced=unplaced,
        statements=statements,
    )  # fmt: skip


def operating_point(rows: Sequence[Row]) -> tuple[float, float] | None:
    """(share of the questions that were answered, share of these answers that are wrong); None where nothing can be judged."""
    risks = [row.risk for row in rows if row.risk is not None]
    if not risks:
        return None
    return round(sum(row.refused is False for row in rows) / len(rows), 4), round(sum(risks) / len(risks), 4)


def summarise(rows: Sequence[Row], about: Mapping[str, Any], others: Mapping[str, Sequence[Row]] | None = None) -> Report:
    """Means over the rows that a figure applies to, in all and by language; `others` are the rows of other levels of caution."""
    if not rows:
        raise DataError("no question was asked: there is nothing to report")
    found, counts = _figures(rows)
    curve = _curve(rows)
    if curve is not None:
        found["risk_coverage_area"], counts["risk_coverage_area"] = curve.area, len(_judged(rows))
    answered = sum(row.refused is False for row in rows) / len(rows)
    languages = sorted({row.lang for row in rows if row.lang})
    return Report(
        about=about,
        metrics={name: round(value, 4) for name, value in found.items()},
        counts=counts,
        by_language={
            lang: {name: round(v, 4) for name, v in _figures([r for r in rows if r.lang == lang])[0].items()}
            for lang in languages
        },
        curve=[(round(x * answered, 4), round(y, 4)) for x, y in curve.points] if curve is not None else [],
        rows=rows,
        points=_points({str(about.get("caution", "")): rows, **(others or {})}),
        statements=_statements(rows, ["", *languages]),
    )


def _statements(rows: Sequence[Row], languages: Sequence[str]) -> dict[str, Mapping[str, Sequence[int]]]:
    found = {lang: summed([row.statements for row in rows if lang in ("", row.lang)]) for lang in languages}
    return {lang: counts for lang, counts in found.items() if counts}


def _points(levels: Mapping[str, Sequence[Row]]) -> dict[str, tuple[float, float]]:
    found = {name: operating_point(levels[name]) for name in LEVELS if name in levels}
    return {name: point for name, point in found.items() if point is not None}


def _figures(rows: Sequence[Row]) -> tuple[dict[str, float], dict[str, int]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.scores.items():
            values.setdefault(name, []).append(value)
    found = {name: sum(own) / len(own) for name, own in values.items()}
    counts = {name: len(own) for name, own in values.items()}
    if "answered" in found and "refused_unanswerable" in found:  # as metrics.balanced_accuracy, a failed row being wrong
        found["refusal_balanced_accuracy"] = (found["answered"] + found["refused_unanswerable"]) / 2
        counts["refusal_balanced_accuracy"] = counts["decision"]
    for stage in ("search_s", *STAGES):
        times = [row.timings[stage] for row in rows if stage in row.timings]
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            latency = metrics.quantile(times, share)
            if latency is not None:
                found[f"latency_{stage.removesuffix('_s')}_{name}_s"] = latency
                counts[f"latency_{stage.removesuffix('_s')}_{name}_s"] = len(times)
    found["failed"], counts["failed"] = sum(bool(row.error) for row in rows) / len(rows), len(rows)
    return found, counts


def _judged(rows: Sequence[Row]) -> list[tuple[float, float]]:
    return [(row.confidence, row.risk) for row in rows if row.risk is not None]


def _curve(rows: Sequence[Row]) -> metrics.RiskCoverage | None:
    judged = _judged(rows)
    return metrics.risk_coverage([sure for sure, _ in judged], [wrong for _, wrong in judged]) if judged else None


# ------------------------------------------------------------------------------------------------ on disk


def save(report: Report, file: Path) -> None:
    """Write a run whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps(report.as_json(), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
    new.replace(file)


def load(file: Path) -> Report:
    """A saved run. Raises DataError for a file that is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise DataError(f"{file} is a run of format {value['format']!r}, this version reads {FORMAT}: run it again")
        rows = [Row(**(row | {"expected": tuple(row["expected"])})) for row in value["rows"]]
        curve = [(float(x), float(y)) for x, y in value["risk_coverage"]]
        points = {str(name): (float(x), float(y)) for name, (x, y) in value.get("operating_points", {}).items()}
        statements = value.get("statements", {})
        return Report(value["about"], value["metrics"], value["counts"], value["by_language"], curve, rows, points, statements)
    except OSError as error:
        raise DataError(f"cannot read the saved run {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no saved run of `ckllm eval`: {error}") from None
