"""Milvus as the vector store: Lite by the path of a folder, a server by its URL, through one client and the same calls.

Vectors are of unit length, so inner product is cosine; Lite computes it exactly (FLAT), a server by its automatic index. Searches
read with strong consistency: what `upsert` has returned, the next search finds.

What survives what. A returned `upsert` or `delete_versions` survives the death of this process; a returned `flush` survives a
power cut as well (see :mod:`ckllm.store.lite`; a Milvus server persists in its own log). `delete_versions` flushes itself,
since the catalogue forgets the versions afterwards and a chunk that came back would no longer be hidden.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from ckllm.contracts import Hit
from ckllm.embedding.base import Vectors
from ckllm.errors import StoreError
from ckllm.store.base import ChunkRecord, Filter, IndexDescription
from ckllm.store.filter import expression, literals
from ckllm.store.lexical import query_terms
from ckllm.store.lite import LiteFolder, quiet
from ckllm.store.milvus_schema import (
    HIT_FIELDS,
    RECORD_FIELDS,
    check_name,
    check_vectors,
    description_of,
    hit_of,
    languages_of,
    languages_property,
    properties_of,
    record_of,
    require_same,
    row_of,
    schema_of,
)

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from ckllm.store.lite_reading import LiteReader

_SCHEMES = ("http://", "https://", "tcp://", "unix:")
_CONNECT_S = 8.0
_READ_S = 60.0
_WRITE_S = 300.0
_BATCH_ROWS = 1000
_BATCH_BYTES = 8_000_000
"""Of text in one request; servers accept 64 MB."""
_PAGE = 10_000
"""Rows in one answer; servers refuse more than 16,384."""
_LANGUAGES_S = 10.0
_UNLOADED = ("not loaded", "in state 'released'")
"""What Milvus and Lite say of a collection that has to be loaded first."""
_RAISING = ("pymilvus", "grpc", "milvus_lite")
_VERSIONS = 200
"""Version ids in one expression."""

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _errors_of(store: object) -> Iterator[None]:
    """Milvus's errors as StoreError of one line that names the store."""
    try:
        yield
    except Exception as error:
        if not _is_milvus(error):
            raise
        raise StoreError(_explain(str(store), error)) from error


def _is_milvus(error: Exception) -> bool:
    """Whether Milvus, its client or the connection raised it. By name: a search in this process imports neither of the last."""
    return any(kind.__module__.partition(".")[0] in _RAISING for kind in type(error).__mro__)


def _translated(method: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with _errors_of(args[0]):
            return _again_once_loaded(method, *args, **kwargs)

    return call


def _again_once_loaded(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """A server that was started again has forgotten which collections were loaded: then they are loaded anew."""
    try:
        return method(*args, **kwargs)
    except Exception as error:
        store = args[0]
        assert isinstance(store, MilvusStore)
        if not _is_milvus(error) or not store._loaded or not any(sign in str(error) for sign in _UNLOADED):
            raise
        store._loaded.clear()
        return method(*args, **kwargs)


class MilvusStore:
    """Implements `VectorStore`. Safe to share between threads; writes take turns.

    Opening raises StoreError when the folder stays locked for `lock_timeout_s` or the server is not reached in 8 s.
    """

    def __init__(self, uri: str, token: str = "", lock_timeout_s: float = 30.0, *, shards: int = 1, replicas: int = 1) -> None:
        """`shards`, `replicas`: of what is made and loaded on a server; Lite knows neither."""
        self._uri = uri
        self._loaded: set[str] = set()
        self._lite = None if uri.startswith(_SCHEMES) else LiteFolder(_folder(uri), lock_timeout_s)
        self._connecting = threading.Lock()
        self._connected: MilvusClient | None = None if self._lite else self._connect(uri, token)
        self._embedded = self._lite is not None or uri.startswith("unix:")
        self._sharded = {} if self._embedded else {"num_shards": shards}
        self._replicated = {} if self._embedded or replicas == 1 else {"replica_number": replicas}
        self._writing = threading.RLock()
        self._known_languages: dict[str, tuple[float, frozenset[str]]] = {}
        self._closed = False

    def __str__(self) -> str:
        if self._uri.startswith("unix:"):
            return "the store that the running service has open"
        return f"the Milvus server {self._uri}" if self._lite is None else f"the store {self._uri}"

    @property
    def socket(self) -> str:
        """Where other processes reach the folder that this one has open; "" for a server."""
        return self._lite.uri.removeprefix("unix:") if self._lite else ""

    @property
    def _client(self) -> MilvusClient:
        """A folder's is connected when something is first written: reading needs none."""
        with self._connecting:
            if self._connected is None:
                assert self._lite is not None
                self._connected = self._connect(self._lite.uri, "")
            return self._connected

    @property
    def _reading(self) -> MilvusClient | LiteReader:
        return self._lite.reader if self._lite else self._client

    @_translated
    def _connect(self, uri: str, token: str) -> MilvusClient:
        quiet()
        from pymilvus import MilvusClient

        quiet()  # importing pymilvus sets its own log level
        # dedicated: a shared connection would outlive this object and be handed to the next one
        return MilvusClient(uri=uri, token=token, timeout=_CONNECT_S, dedicated=True)

    # -- indexes

    @_translated
    def create(self, index: IndexDescription) -> None:
        with self._writing:
            found = self.describe(check_name(index.name))
            if found is not None:
                require_same(found, index)
                return
            params = self._client.prepare_index_params()
            params.add_index("dense", index_type="FLAT" if self._embedded else "AUTOINDEX", metric_type="IP")
            params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
            self._client.create_collection(
                index.name, schema=schema_of(index), properties=properties_of(index), consistency_level="Strong",
                timeout=_WRITE_S, **self._sharded,
            )  # fmt: skip
            # of an empty collection: waiting would be polling, half a second for each field
            self._client.create_index(index.name, params, timeout=_WRITE_S, sync=False)
            self._client.load_collection(index.name, timeout=_WRITE_S)
            self._loaded.add(index.name)

    @_translated
    def describe(self, name: str) -> IndexDescription | None:
        if not self._reading.has_collection(check_name(name), timeout=_READ_S):
            return None
        found = self._reading.describe_collection(name, timeout=_READ_S)
        return description_of(name, dict(found.get("properties", {})))

    @_translated
    def drop(self, name: str) -> None:
        with self._writing:
            self._loaded.discard(name)
            self._known_languages.pop(name, None)
            if self._client.has_collection(check_name(name), timeout=_READ_S):
                self._client.drop_collection(name, timeout=_WRITE_S)

    # -- writing

    @_translated
    def upsert(self, name: str, records: Sequence[ChunkRecord], vectors: Vectors) -> None:
        """DataError for a chunk that Milvus cannot hold; nothing of the call is written then."""
        check_vectors(records, vectors)
        rows = {record.chunk.chunk_id: row_of(record, vector) for record, vector in zip(records, vectors, strict=True)}
        with self._writing:
            self._load(name)
            self._add_languages(name, {record.lang for record in records})
            for batch in _batches(list(rows.values())):
                self._client.upsert(name, batch, timeout=_WRITE_S)

    @_translated
    def flush(self, name: str) -> None:
        with self._writing:
            self._client.flush(name, timeout=_WRITE_S)

    @_translated
    def delete_versions(self, name: str, version_ids: Sequence[str]) -> None:
        if not version_ids:
            return
        with self._writing:
            self._load(name)
            for start in range(0, len(version_ids), _VERSIONS):
                where = f"version_id in {literals(version_ids[start : start + _VERSIONS])}"
                self._client.delete(name, filter=where, timeout=_WRITE_S)
            self._client.flush(name, timeout=_WRITE_S)

    # -- reading

    @_translated
    def count(self, name: str, version_ids: Sequence[str]) -> dict[str, int]:
        self._load(name)
        counts = dict.fromkeys(version_ids, 0)
        for start in range(0, len(version_ids), _VERSIONS):
            where = f"version_id in {literals(version_ids[start : start + _VERSIONS])}"
            for rows in self._pages(name, where, ["version_id"], _PAGE):
                for row in rows:
                    counts[row["version_id"]] += 1
        return counts

    @_translated
    def search_dense(self, name: str, vectors: Vectors, k: int, where: Filter) -> list[list[Hit]]:
        return self._search(name, "dense", list(np.asarray(vectors, dtype=np.float32)), k, where)

    @_translated
    def search_lexical(self, name: str, queries: Sequence[str], k: int, where: Filter) -> list[list[Hit]]:
        """`queries` are questions as asked, analysed here under the languages that the index holds."""
        languages = sorted(self._languages(name))
        analysed = [query_terms(query, languages) for query in queries]
        found: list[list[Hit]] = [[] for _ in queries]
        asked = [position for position, terms in enumerate(analysed) if terms]  # Milvus refuses an empty query
        hits = self._search(name, "sparse", [analysed[position] for position in asked], k, where)
        for position, some in zip(asked, hits, strict=True):
            found[position] = some
        return found

    @_translated
    def similarities(self, name: str, vector: Vectors, chunk_ids: Sequence[str]) -> dict[str, float]:
        """Ids that are not stored are left out."""
        self._load(name)
        if not chunk_ids:
            return {}
        keys, stored = self._vectors(name, chunk_ids)
        if not keys:
            return {}
        cosines = stored @ np.asarray(vector, dtype=np.float32).reshape(-1)
        return {key: float(cosine) for key, cosine in zip(keys, cosines, strict=True)}

    def scan(self, name: str, batch: int = 1000) -> Iterator[tuple[list[ChunkRecord], Vectors]]:
        self._load(name)
        for rows in self._pages(name, "", [*RECORD_FIELDS, "dense"], batch):
            yield [record_of(row) for row in rows], np.asarray([row["dense"] for row in rows], dtype=np.float32)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with self._connecting:
            if self._connected is not None:
                self._connected.close()
        if self._lite:
            self._lite.close()

    # -- inside

    @_translated
    def _load(self, name: str) -> None:
        if name not in self._loaded:
            self._reading.load_collection(check_name(name), timeout=_WRITE_S, **self._replicated)
            self._loaded.add(name)

    def _vectors(self, name: str, chunk_ids: Sequence[str]) -> tuple[list[str], Vectors]:
        if self._lite:
            return self._lite.reader.vectors(name, "dense", chunk_ids)
        rows = self._client.query(
            name, filter=f"chunk_id in {literals(chunk_ids)}", output_fields=["chunk_id", "dense"], timeout=_READ_S
        )
        return [row["chunk_id"] for row in rows], np.asarray([row["dense"] for row in rows], dtype=np.float32)

    def _languages(self, name: str) -> frozenset[str]:
        """Languages of the chunks ever stored; a server, to which others may write, is asked again every few seconds."""
        read_at, languages = self._known_languages.get(name, (-math.inf, frozenset()))
        if self._lite or time.monotonic() - read_at > _LANGUAGES_S:
            languages = languages_of(self._reading.describe_collection(check_name(name), timeout=_READ_S).get("properties", {}))
            self._known_languages[name] = (time.monotonic(), languages)
        return languages

    def _add_languages(self, name: str, new: set[str]) -> None:
        """Before chunks of a new language are written, so that none is ever stored that questions are not analysed for."""
        known = self._languages(name)
        if not new <= known:
            self._client.alter_collection_properties(name, languages_property(known | new), timeout=_WRITE_S)
            self._known_languages[name] = (time.monotonic(), known | new)

    def _search(self, name: str, field: str, data: Sequence[Any], k: int, where: Filter) -> list[list[Hit]]:
        if not data or k <= 0:
            return [[] for _ in data]
        self._load(name)
        answers = self._reading.search(
            name, list(data), filter=expression(where), limit=k, anns_field=field, output_fields=HIT_FIELDS, timeout=_READ_S
        )
        found_by = "dense" if field == "dense" else "lexical"
        return [
            # Lite gives BM25 scores as negative distances, a server as they are
            [
                hit_of(rank, _score(field, hit["distance"]), hit["chunk_id"], hit["entity"], found_by)
                for rank, hit in enumerate(hits, 1)
            ]
            for hits in answers
        ]

    def _pages(self, name: str, where: str, fields: Sequence[str], batch: int) -> Iterator[list[Mapping[str, Any]]]:
        with _errors_of(self):
            iterator = self._client.query_iterator(name, batch, filter=where, output_fields=list(fields), timeout=_READ_S)
        try:
            while True:
                with _errors_of(self):
                    rows = iterator.next()
                if not rows:
                    return
                yield rows
        finally:
            iterator.close()


def _score(field: str, distance: float) -> float:
    return abs(float(distance)) if field == "sparse" else float(distance)


def _folder(uri: str) -> Path:
    if "://" in uri:
        raise StoreError(f"{uri} is no Milvus address: give http(s)://host:port, or a folder for Milvus Lite (store.uri)")
    return Path(uri).expanduser().absolute()


def _batches(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        weight = 4 * len(row["dense"]) + 4 * (len(row["text"]) + len(row["context"])) + len(row["terms"])
        if batch and (len(batch) >= _BATCH_ROWS or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += weight
    if batch:
        yield batch


def _explain(store: str, error: Exception) -> str:
    detail = " ".join(str(getattr(error, "message", "") or error).split())
    lower = detail.lower()
    if any(sign in lower for sign in ("unavailable", "connect", "deadline", "timeout", "timed out")):
        return f"{store} is not reachable: check that it runs and that store.uri is right ({detail[:160]})"
    if "no space left" in lower or "disk quota" in lower:
        return f"the disk is full: {store} could not be written; free some space and run again"
    if "auth" in lower or "permission" in lower:
        return f"{store} refuses access: check store.token ({detail[:160]})"
    return f"{store} does not serve: {detail[:300]}"


__all__ = ["MilvusStore"]
