"""JSON of the contract back as the objects of :mod:`ckllm.contracts`; the inverse of their `as_json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckllm.contracts import (
    Answer,
    Box,
    ChunkSpan,
    Citation,
    Computed,
    DocumentRow,
    DocumentText,
    Evidence,
    Hit,
    PageSpan,
    Route,
    SearchResult,
    Sentence,
    Timings,
    Usage,
)

Row = Mapping[str, Any]


def hit(row: Row) -> Hit:
    return Hit(
        rank=row["rank"], score=row["score"], text=row["text"], source=row["source"], title=row["title"], page=row["page"],
        section=row["section"], start=row["start"], end=row["end"], document_id=row["document_id"], chunk_id=row["chunk_id"],
        found_by=tuple(row["found_by"]), lang=row.get("lang", ""), version_id=row.get("version_id", ""),
        similarity=row.get("similarity", 0.0),
    )  # fmt: skip


def search_result(row: Row) -> SearchResult:
    return SearchResult(row["query"], row["seconds"], tuple(hit(one) for one in row["hits"]), row.get("id"))


def evidence(row: Row) -> Evidence:
    """The hit's rank is the marker; who found it is not in the JSON."""
    found = hit({**row, "rank": row["marker"], "found_by": ()})
    return Evidence(row["marker"], found, row["in_prompt"], row["cited"])


def citation(row: Row) -> Citation:
    return Citation(
        marker=row["marker"], source=row["source"], title=row["title"], page=row["page"], section=row["section"],
        start=row["start"], end=row["end"], quote=row["quote"], document_id=row["document_id"], chunk_id=row["chunk_id"],
        boxes=tuple(Box(**box) for box in row.get("boxes", ())),
    )  # fmt: skip


def sentence(row: Row) -> Sentence:
    return Sentence(row["text"], row["start"], row["end"], row["supported"], row["support"], tuple(row["citations"]))


def route(row: Row) -> Route:
    return Route(
        row["expert"], row["confidence"], row["scores"], row["weights"], row["strategy"], row["reason"], row.get("threshold")
    )


def computed(row: Row) -> Computed:
    return Computed(
        row["operation"], row["table"], row["document_id"], tuple(row["conditions"]), row["rows"], row["of"], row.get("value")
    )


def answer(row: Row) -> Answer:
    usage = row["usage"]
    return Answer(
        question=row["question"], answer=row["answer"], short_answer=row["short_answer"], refused=row["refused"],
        sentences=tuple(sentence(one) for one in row["sentences"]), citations=tuple(citation(one) for one in row["citations"]),
        route=route(row["route"]), evidence=tuple(evidence(one) for one in row["evidence"]),
        usage=Usage(usage["prompt_tokens"], usage["completion_tokens"]), timings=Timings(**row["timings"]),
        reason=row.get("reason"), quoted=row.get("quoted", False), id=row.get("id"),
        warnings=tuple(row.get("warnings", ())),
        computed=computed(row["computed"]) if row.get("computed") else None,
    )  # fmt: skip


def document_row(row: Row) -> DocumentRow:
    return DocumentRow(
        row["id"], row["source"], row["title"], row["state"], row["chunks"], row["pages"], row["lang"], tuple(row["groups"]),
        row["collection"], row.get("reason"),
    )  # fmt: skip


def document_text(row: Row) -> DocumentText:
    return DocumentText(
        row["id"], row["source"], row["title"], row["text"], tuple(PageSpan(**page) for page in row["pages"]),
        tuple(ChunkSpan(**chunk) for chunk in row["chunks"]), row.get("reason"),
    )  # fmt: skip
