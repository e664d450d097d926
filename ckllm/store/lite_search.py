"""Milvus Lite's two searches over arrays: the same results, without a step in Python for every stored chunk.

For each search Lite 3.2 walks through all rows in Python to tell which of them are current, and copies all vectors; at 100,000
chunks that is most of a tenth of a second. Which rows of a segment are current depends only on the other segments and on what
was deleted, so it is worked out once and kept with the segment. :func:`install` puts these functions in the place of Lite's own;
what they do not cover (other metrics, approximate indexes, partitions) still goes to Lite's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from milvus_lite.constants import ALL_PARTITIONS
from milvus_lite.engine import collection as engine
from milvus_lite.engine.projection import build_projection_plan, project_record
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.search.indexed_filter import evaluate_segment_filter
from milvus_lite.storage.segment import Segment
from numpy.typing import NDArray

from ckllm.store.lite_arrays import evaluate_mask, vectors_in
from ckllm.store.lite_bm25 import Bm25, Postings

Mask: TypeAlias = NDArray[np.bool_]
Row: TypeAlias = dict[str, Any]

FEW = 0.1
"""Share of the rows below which their vectors are gathered rather than all of them compared."""
_LIVE, _POSTINGS = "ckllm live rows", "ckllm postings of "
"""Keys in a segment's own cache, which goes with the segment."""

_lite_dense = engine.execute_search_with_index
_lite_sparse = engine.Collection._search_sparse
_lite_index = Segment.build_or_load_index


@dataclass(frozen=True, slots=True)
class _Live:
    """Which rows of a segment are the latest of their key and not deleted, given the other segments and the deletions."""

    files: tuple[str, ...]
    deleted: dict[str, int]
    rows: Mask


@dataclass(frozen=True, slots=True)
class _Source:
    """A segment, or what is not flushed yet."""

    keys: Sequence[str]
    places: Mapping[str, int]
    """The row of each key: of its latest version, where there are several here."""
    rows: Mask
    """Those that may be found."""
    column: Callable[[str], Any]
    """An Arrow column by name."""
    vectors: Callable[[], NDArray[np.float32]]
    postings: Callable[[str], Postings]


def install() -> None:
    """Have Lite search with these functions from now on, in this process."""
    engine.execute_search_with_index = search_dense
    engine.Collection._search_sparse = search_sparse
    Segment.build_or_load_index = index_dense


def index_dense(segment: Any, spec: Any, folder: str) -> None:
    """A segment's index; an exact one is the segment's own vectors, and no file.

    Lite writes it as a second copy of the vectors, neither synced nor in one step: a process killed just then left a torn copy,
    and the folder did not load again. Copies that are there from before are not read.
    """
    if spec.index_type != "FLAT":
        _lite_index(segment, spec, folder)
    elif spec.field_name not in segment.indexes and segment.num_rows:
        index = BruteForceIndex.build(segment.vector_data(spec.field_name)[0], spec.metric_type)
        segment.attach_index(index, field_name=spec.field_name)


def search_dense(
    query_vectors: NDArray[np.float32], segments: Iterable[Any], memtable: Any, delta_index: Any, **given: Any
) -> Any:
    """Exact inner products; parameters and result are those of Lite's `execute_search_with_index`."""
    segments, field, fields = list(segments), given["vector_field"], given.get("output_fields")
    exact = all(isinstance(one.indexes.get(field), BruteForceIndex | None) for one in segments)
    if given["metric_type"] != "IP" or not exact or given.get("partition_names") or fields is None or "*" in fields:
        return _lite_dense(query_vectors, segments, memtable, delta_index, **given)
    queries = np.atleast_2d(np.asarray(query_vectors, np.float32))
    found = _sources(segments, memtable, delta_index, field, (given.get("compiled_filter"), given.get("indexed_filter_plan")))
    scores = [_products(queries, source) for source in found]
    return [
        _best(found, [some[number] for some in scores], given["top_k"], given["project_record_fn"], fields)
        for number in range(len(queries))
    ]


def search_sparse(self: Any, query_vectors: Any, vector_field: str, top_k: int, metric_type: str, **given: Any) -> Any:
    """BM25; parameters and result are those of Lite's `Collection._search_sparse`."""
    fields, expression = given.get("output_fields"), given.get("expr")
    if metric_type != "BM25" or given.get("partition_names") or fields is None or "*" in fields:
        return _lite_sparse(self, query_vectors, vector_field, top_k, metric_type, **given)
    compiled = self._compile_filter(expression, timezone=given.get("timezone")) if expression else None
    segments, deleted = self._read_snapshot()
    found = _sources(segments, self._memtable, deleted, "", (compiled, self._indexed_filter_plan(compiled)))
    index = self._index_specs.get(vector_field)
    model = Bm25.with_parameters([one.postings(vector_field) for one in found], index.build_params if index else {})
    plan = build_projection_plan(fields, self._schema, api_kind="search")

    def project(record: Row) -> Row:
        return dict(project_record(record, self._schema, plan))

    results = []
    for query in self._prepare_sparse_queries(query_vectors, vector_field):
        scores = [np.where((one > 0) & source.rows, one, -np.inf) for one, source in zip(model.scores(query), found, strict=True)]
        results.append(_best(found, scores, top_k, project, fields))
    return results


def vectors_of(collection: Any, field: str, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """The vectors of those keys that are stored."""
    segments, deleted = collection._read_snapshot()
    found = _sources(segments, collection._memtable, deleted, field, (None, None))
    places = ((key, source, source.places.get(key)) for source in found for key in keys)
    return {key: source.vectors()[row] for key, source, row in places if row is not None and source.rows[row]}


def _products(queries: NDArray[np.float32], source: _Source) -> NDArray[np.float32]:
    """Shape (queries, rows); minus infinity for rows that may not be found."""
    vectors, wanted = source.vectors(), source.rows
    if wanted.all():
        return np.asarray(queries @ vectors.T, np.float32)
    scores = np.full((len(queries), len(vectors)), -np.inf, np.float32)
    some = np.flatnonzero(wanted)
    scores[:, some] = queries @ vectors[some].T if len(some) < FEW * len(vectors) else (queries @ vectors.T)[:, some]
    return scores


def _best(
    found: Sequence[_Source], scores: Sequence[NDArray[Any]], most: int, project: Callable[[Row], Row], fields: Sequence[str]
) -> list[Row]:
    """The `most` best rows over all sources, ties in the order of the sources; Lite's distance is the negative score."""
    best: list[tuple[float, int, int]] = []
    for number, some in enumerate(scores):
        at = np.argpartition(some, len(some) - most)[len(some) - most :] if len(some) > most else np.arange(len(some))
        best += [(-float(some[row]), number, int(row)) for row in at if some[row] > -np.inf]
    rows = []
    for distance, number, row in sorted(best)[:most]:
        source = found[number]
        record = {name: source.column(name)[row].as_py() for name in fields}
        rows.append({"id": source.keys[row], "distance": distance, "entity": project(record)})
    return rows


def _sources(segments: Sequence[Any], memtable: Any, deleted: Any, dense: str, condition: tuple[Any, Any]) -> list[_Source]:
    """Everything with rows in it, each with the rows that are current and meet the condition."""
    compiled, plan = condition
    segments = [segment for segment in segments if segment.num_rows]
    newest, newest_at, table, pending = _pending(memtable)
    found = []
    for segment in segments:
        rows = _live(segment, segments, deleted._map)
        gone = [(key, at) for key, (at, where) in pending.items() if where in (ALL_PARTITIONS, segment.partition)]
        rows = _without(rows, segment, [*zip(newest, newest_at, strict=True), *gone])
        if compiled is not None:
            rows = rows & evaluate_segment_filter(segment, compiled, plan)
        if dense and (present := segment.vector_data(dense)[1]) is not None:
            rows = rows & present
        found.append(_segment(segment, rows, dense))
    if len(newest):
        rows = np.array([not deleted.is_deleted(key, int(at)) for key, at in zip(newest, newest_at, strict=True)])
        if compiled is not None:
            rows &= evaluate_mask(compiled, table)
        found.append(_unflushed(newest, rows, table, dense))
    return found


def _pending(memtable: Any) -> tuple[Sequence[str], Sequence[Any], Any, Mapping[str, Any]]:
    """What is not flushed yet: keys, their sequence numbers and their table; deletions by key."""
    if not memtable.size():  # even an empty table would import pandas
        return (), (), None, {}
    keys, numbers, _, _, table = memtable.to_search_snapshot(vector_field=None, include_table=True)
    return keys, numbers, table, memtable.delete_index_snapshot()


def _segment(segment: Any, rows: Mask, dense: str) -> _Source:
    def postings(field: str) -> Postings:
        key = _POSTINGS + field
        kept: Postings | None = segment.sparse_indexes.get(key)
        if kept is None:
            kept = segment.sparse_indexes[key] = Postings.of(segment.table.column(field).to_pylist())
        return kept

    return _Source(segment.pks, segment.pk_to_row, rows, segment.table.column, lambda: segment.vector_data(dense)[0], postings)


def _unflushed(keys: Sequence[str], rows: Mask, table: Any, dense: str) -> _Source:
    def vectors() -> NDArray[np.float32]:
        return vectors_in(table.column(dense))[0]

    places = {key: row for row, key in enumerate(keys)}
    return _Source(keys, places, rows, table.column, vectors, lambda field: Postings.of(table.column(field).to_pylist()))


def _live(segment: Any, segments: Sequence[Any], deleted: dict[str, int]) -> Mask:
    """Not to be changed: it is kept for the next search."""
    files = tuple(one.file_path for one in segments)
    kept: _Live | None = segment.sparse_indexes.get(_LIVE)
    if kept is None or kept.files != files or kept.deleted != deleted:
        newer = [
            (key, one.seqs[one.pk_to_row[key]])
            for one in segments
            for key in (one.pk_to_row.keys() & segment.pk_to_row.keys() if one is not segment else ())
        ]
        rows = np.zeros(segment.num_rows, bool)
        rows[list(segment.pk_to_row.values())] = True
        kept = segment.sparse_indexes[_LIVE] = _Live(files, deleted, _without(rows, segment, [*newer, *deleted.items()]))
    return kept.rows


def _without(rows: Mask, segment: Any, newer: Iterable[tuple[str, Any]]) -> Mask:
    """`rows` but those of a key that something newer is known of: (key, its sequence number)."""
    places = ((segment.pk_to_row.get(key), int(at)) for key, at in newer)
    gone = [row for row, at in places if row is not None and at > int(segment.seqs[row])]
    if not gone:
        return rows
    left = rows.copy()
    left[gone] = False
    return left
