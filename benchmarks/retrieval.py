"""Does hybrid search pay, and does the reranker? `python -m benchmarks.retrieval FOLDER [--limit 200]`.

Recall@1, @5 and @10 (a hit that holds the evidence, first at that rank or before) of BM25 alone, dense vectors alone, their
reciprocal rank fusion, the weighted sum of their z-scores, and that with the best-sentence reranker, on the same questions in
the same run. Of the first five hits also precision, recall and intersection over union by characters: how much of what was found
is evidence, how much of the evidence was found.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.questions import Question, holds, ingest, load, mean
from ckllm.assembly import open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Hit
from ckllm.embedding.base import Vectors
from ckllm.evaluation.metrics import character_overlap
from ckllm.knowledge_base import KnowledgeBase
from ckllm.retrieval.fusion import reciprocal_rank_fusion
from ckllm.store.base import Filter

DEPTH = 50
BATCH = 32
READ = 5
"""Hits whose characters are compared with the evidence."""
Span = tuple[str, int, int]
"""Document, start, end."""
Search = Callable[[Sequence[str], Vectors], list[list[Hit]]]


def searches(kb: KnowledgeBase) -> dict[str, Search]:
    """Name → a search of a batch of questions."""
    parts, index, everything = kb._parts, kb.index.name, Filter()
    retriever, reranker = parts.retriever(), parts.reranker()

    def lexical(questions: Sequence[str], _vectors: Vectors) -> list[list[Hit]]:
        return kb.store.search_lexical(index, questions, DEPTH, everything)

    def dense(_questions: Sequence[str], vectors: Vectors) -> list[list[Hit]]:
        return kb.store.search_dense(index, vectors, DEPTH, everything)

    def ranks(questions: Sequence[str], vectors: Vectors) -> list[list[Hit]]:
        return [_by_rank(pair) for pair in zip(lexical(questions, vectors), dense(questions, vectors), strict=True)]

    def hybrid(questions: Sequence[str], vectors: Vectors) -> list[list[Hit]]:
        return retriever.retrieve(questions, vectors, DEPTH, everything)

    def reranked(questions: Sequence[str], vectors: Vectors) -> list[list[Hit]]:
        return reranker.rerank(questions, vectors, hybrid(questions, vectors))

    return {"lexical": lexical, "dense": dense, "rank fusion": ranks, "hybrid": hybrid, "hybrid + rerank": reranked}


def _by_rank(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    hits = {hit.chunk_id: hit for ranking in rankings for hit in ranking}
    return [hits[key] for key in reciprocal_rank_fusion([[hit.chunk_id for hit in ranking] for ranking in rankings])]


def measure(kb: KnowledgeBase, questions: Sequence[Question]) -> dict[str, dict[str, float | None]]:
    figures: dict[str, dict[str, float | None]] = {}
    texts = [question.text for question in questions]
    vectors = kb._parts.retriever().embed(texts)
    evidence = placed(kb, questions)
    for name, search in searches(kb).items():
        began, found = time.perf_counter(), []
        for at in range(0, len(texts), BATCH):
            found += search(texts[at : at + BATCH], vectors[at : at + BATCH])
        seconds = time.perf_counter() - began
        ranks = [_first(hits, question) for hits, question in zip(found, questions, strict=True)]
        figures[name] = {f"recall@{k}": mean(float(0 < rank <= k) for rank in ranks) for k in (1, 5, 10)}
        overlaps = [
            overlap([(hit.document_id, hit.start, hit.end) for hit in hits[:READ]], gold)
            for hits, gold in zip(found, evidence, strict=True)
            if gold
        ]
        for at, measured in enumerate(("precision", "recall", "iou")):
            figures[name][f"character_{measured}@{READ}"] = mean(one[at] for one in overlaps)
        figures[name]["questions_placed"] = len(overlaps)
        figures[name]["ms_a_question"] = round(1000 * seconds / max(1, len(texts)), 1)
    return figures


def _first(hits: Sequence[Hit], question: Question) -> int:
    """Rank of the first hit that holds evidence; 0 where none does."""
    return next((n for n, hit in enumerate(hits, 1) if any(holds(hit.source, hit.text, gold) for gold in question.evidence)), 0)


def placed(kb: KnowledgeBase, questions: Sequence[Question]) -> list[list[Span]]:
    """Where the evidence of each question stands in the extracted texts; nothing where a part of it is not found as it is."""
    texts = {Path(row.source).name: kb.document_text(row.id) for row in kb.documents()}
    found: list[list[Span]] = []
    for question in questions:
        spans = []
        for gold in question.evidence:
            place = re.search(r"\s+".join(map(re.escape, gold.text.split())), texts[gold.file].text)
            if place:
                spans.append((texts[gold.file].id, *place.span()))
        found.append(spans if len(spans) == len(question.evidence) else [])
    return found


def overlap(found: Sequence[Span], evidence: Sequence[Span]) -> tuple[float, float, float]:
    """(precision, recall, intersection over union) of the characters of two sets of spans."""
    precision, recall = character_overlap(_by_document(found), _by_document(evidence))
    return precision, recall, precision * recall / (precision + recall - precision * recall) if precision else 0.0


def _by_document(spans: Sequence[Span]) -> dict[str, list[tuple[int, int]]]:
    grouped: dict[str, list[tuple[int, int]]] = {}
    for document, start, end in spans:
        grouped.setdefault(document, []).append((start, end))
    return grouped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="answerable questions; 0: all")
    parser.add_argument("--articles", default="", help="only these titles, comma-separated")
    parser.add_argument("--home", type=Path, help="keep the knowledge base here")
    args = parser.parse_args()
    files, questions = load(args.folder, [title for title in args.articles.split(",") if title], args.limit)
    questions = [question for question in questions if question.evidence]
    with tempfile.TemporaryDirectory() as temporary:
        home = args.home or Path(temporary) / "home"
        with open_knowledge_base(settings=load_settings(home)) as kb:
            ingest(kb, files, Path(temporary) / "documents" if not args.home else home / "documents")
            figures = measure(kb, questions)
    print(json.dumps({**circumstances(), "set": args.folder.name, "questions": len(questions), "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
