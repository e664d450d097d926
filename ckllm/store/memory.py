"""An exact vector store in memory: the ground truth of the store's tests, and a fast stand-in in the tests of others."""

from __future__ import annotations

import ast
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Vectors
from ckllm.errors import StoreError
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ckllm.store.catalogue_rows import visible
from ckllm.store.lexical import query_terms
from ckllm.store.milvus_schema import check_name, check_vectors, hit_of, record_of, require_same, row_of

K1, B = 1.5, 0.75
"""BM25's parameters as Milvus Lite has them."""

_OPERATORS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda value, many: value in many, ast.NotIn: lambda value, many: value not in many,
}  # fmt: skip


@dataclass(slots=True)
class _Index:
    description: IndexDescription
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """chunk_id → the row as Milvus would hold it."""


class MemoryStore:
    """Implements `VectorStore` with brute-force cosine and BM25 (Robertson and Zaragoza, 2009) over the whole index."""

    def __init__(self) -> None:
        self._indexes: dict[str, _Index] = {}

    def create(self, index: IndexDescription) -> None:
        found = self._indexes.setdefault(check_name(index.name), _Index(index))
        require_same(found.description, index)

    def describe(self, name: str) -> IndexDescription | None:
        return self._indexes[name].description if name in self._indexes else None

    def drop(self, name: str) -> None:
        self._indexes.pop(name, None)

    def upsert(self, name: str, records: Sequence[ChunkRecord], vectors: Vectors) -> None:
        check_vectors(records, vectors)
        rows = [row_of(record, vector.copy()) for record, vector in zip(records, vectors, strict=True)]
        self._index(name).rows.update({row["chunk_id"]: row for row in rows})

    def flush(self, name: str) -> None:
        self._index(name)

    def delete_versions(self, name: str, version_ids: Sequence[str]) -> None:
        index = self._index(name)
        gone = set(version_ids)
        index.rows = {key: row for key, row in index.rows.items() if row["version_id"] not in gone}

    def count(self, name: str, version_ids: Sequence[str]) -> dict[str, int]:
        counts = Counter(row["version_id"] for row in self._index(name).rows.values())
        return {version: counts[version] for version in version_ids}

    def search_dense(self, name: str, vectors: Vectors, k: int, where: Filter) -> list[list[Hit]]:
        rows = [row for row in self._index(name).rows.values() if _passes(row, where)]
        stored = np.stack([row["dense"] for row in rows]) if rows else np.zeros((0, vectors.shape[1]), dtype=np.float32)
        return [_ranked(zip((stored @ vector).tolist(), rows, strict=True), k, "dense") for vector in vectors]

    def search_lexical(self, name: str, queries: Sequence[str], k: int, where: Filter) -> list[list[Hit]]:
        rows = list(self._index(name).rows.values())
        languages = sorted({row["lang"] for row in rows})
        documents = [Counter(str(row["terms"]).split()) for row in rows]
        found = []
        for query in queries:
            scores = bm25(query_terms(query, languages).split(), documents)
            scored = [(score, row) for score, row in zip(scores, rows, strict=True) if score > 0 and _passes(row, where)]
            found.append(_ranked(scored, k, "lexical"))
        return found

    def similarities(self, name: str, vector: Vectors, chunk_ids: Sequence[str]) -> dict[str, float]:
        rows = self._index(name).rows
        return {key: float(rows[key]["dense"] @ vector.reshape(-1)) for key in chunk_ids if key in rows}

    def scan(self, name: str, batch: int = 1000) -> Iterator[tuple[list[ChunkRecord], Vectors]]:
        rows = [row for _, row in sorted(self._index(name).rows.items())]
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield [record_of(row) for row in some], np.stack([row["dense"] for row in some])

    def close(self) -> None:
        """Nothing is held open."""

    def _index(self, name: str) -> _Index:
        if name not in self._indexes:
            raise StoreError(f"there is no index {name}")
        return self._indexes[name]


def bm25(query: Sequence[str], documents: Sequence[Counter[str]]) -> list[float]:
    """The score of each document (term → frequency), a query term counting as often as it occurs."""
    mean = sum(document.total() for document in documents) / max(len(documents), 1) or 1.0
    scores = [0.0] * len(documents)
    for term, weight in Counter(query).items():
        containing = sum(1 for document in documents if term in document)
        idf = math.log((len(documents) - containing + 0.5) / (containing + 0.5) + 1.0)
        for position, document in enumerate(documents):
            tf = document[term]
            scores[position] += weight * idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * document.total() / mean))
    return scores


def _ranked(
    scored: Iterator[tuple[float, dict[str, Any]]] | Sequence[tuple[float, dict[str, Any]]], k: int, by: str
) -> list[Hit]:
    best = sorted(scored, key=lambda pair: (-pair[0], pair[1]["chunk_id"]))[:k]
    return [hit_of(rank, score, row["chunk_id"], row, by) for rank, (score, row) in enumerate(best, 1)]


def _passes(row: Mapping[str, Any], where: Filter) -> bool:
    if row["version_id"] in where.hidden_versions or not visible(row["groups"], where.access):
        return False
    # what parse_where writes is Python as well
    return not where.where or _holds(ast.parse(where.where, mode="eval").body, row)


def _holds(node: ast.expr, row: Mapping[str, Any]) -> bool:
    if isinstance(node, ast.BoolOp):
        some = all if isinstance(node.op, ast.And) else any
        return some(_holds(value, row) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _holds(node.operand, row)
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
        return _OPERATORS[type(node.ops[0])](row[node.left.id], ast.literal_eval(node.comparators[0]))
    raise StoreError(f"not a condition that parse_where writes: {ast.unparse(node)}")
