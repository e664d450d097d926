"""What the service measures and what `ckllm eval` has saved, as tables and curves. Pure: no Streamlit here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

_STAGES = {
    "rewrite": "Rewriting", "retrieve": "Searching", "rerank": "Ranking", "route": "Choosing the expert", "generate": "Writing",
    "verify": "Checking", "total": "In all",
}  # fmt: skip
KNOWN = {
    "recall@1": "Right passage first", "recall@5": "Right passage among five", "recall@10": "Right passage among ten",
    "f1": "Answer F1", "exact": "Answer exact", "citation_precision": "Citations right",
    "refusal_balanced_accuracy": "Refusals right",
}  # fmt: skip
"""Figures of an evaluation that the table shows, where a run has them."""

OUTCOMES = {
    "generated": "Written and supported", "quoted": "Exact quotes", "refused": "Refused", "failed": "Failed",
    "sent_away": "Sent away",
}  # fmt: skip
"""What became of questions; a full or slow queue sends them away."""

Samples = Mapping[str, Mapping[str, float]]


def samples(text: str, label: str) -> dict[str, dict[str, float]]:
    """Prometheus' text as name → value of `label` → number."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if label in sample.labels:
                found.setdefault(sample.name, {})[sample.labels[label]] = sample.value
    return found


def outcomes(text: str) -> dict[str, int]:
    """Answers since the service was started: generated, quoted, refused, failed, sent away by the queue."""
    counts = samples(text, "outcome").get("ckllm_answers_total", {})
    return {name: int(counts.get(name, 0)) for name in OUTCOMES}


def stages(text: str) -> list[tuple[str, float]]:
    """Mean seconds of each stage of an answer; nothing where nothing was answered."""
    found = samples(text, "stage")
    sums, counts = found.get("ckllm_stage_seconds_sum", {}), found.get("ckllm_stage_seconds_count", {})
    return [(told, sums[name] / counts[name]) for name, told in _STAGES.items() if counts.get(name) and sums.get(name)]


def runs(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a run, the newest first: when, on what, and the figures that are known."""
    return [
        {
            "When": str(report["about"].get("created", "")), "Questions from": str(report["about"].get("dataset", "")),
            "Questions": report["about"].get("questions"), "Model": str(report["about"].get("llm", "")),
            **{told: report["metrics"].get(name) for name, told in KNOWN.items()},
        }
        for report in reports
    ]  # fmt: skip


def present(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the figures that at least one run has."""
    return [told for told in KNOWN.values() if any(row.get(told) is not None for row in rows)]


def thumbs(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    ratings = [int(row.get("rating", 0)) for row in rows]
    return {"good": ratings.count(1), "bad": ratings.count(-1)}
