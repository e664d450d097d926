"""What a chunk looks like in Milvus, and how records become rows and rows become hits and records again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ckllm.contracts import Chunk, ElementKind, Hit
from ckllm.embedding.base import Vectors
from ckllm.errors import DataError, StoreError, UsageError
from ckllm.store.base import SCHEMA_VERSION, ChunkRecord, IndexDescription
from ckllm.store.filter import audience
from ckllm.store.lexical import terms

if TYPE_CHECKING:
    from pymilvus import CollectionSchema

LONGEST_TEXT = 65_535
"""Bytes of UTF-8 in one text field: Milvus's own limit."""
MOST_GROUPS = 1024

HIT_FIELDS = ["text", "source", "title", "page", "section", "start", "end", "document_id", "version_id", "lang"]
RECORD_FIELDS = ["chunk_id", *HIT_FIELDS, "ordinal", "context", "kind", "groups", "sha256", "ingested_at"]

_TEXTS: Mapping[str, int] = {
    "document_id": 64, "version_id": 64, "text": LONGEST_TEXT, "context": LONGEST_TEXT, "source": LONGEST_TEXT,
    "title": LONGEST_TEXT, "section": LONGEST_TEXT, "kind": 32, "lang": 16, "sha256": 64, "audience": LONGEST_TEXT,
}  # fmt: skip
_NUMBERS = ("ordinal", "start", "end", "page")
_PROPERTY = "ckllm."
_LANGUAGES = _PROPERTY + "languages"
_ANALYSER = {"type": "standard"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def schema_of(index: IndexDescription) -> CollectionSchema:
    """The collection's schema; `sparse` is what BM25 makes of `terms`."""
    from pymilvus import CollectionSchema, DataType, FieldSchema, Function, FunctionType

    fields = [FieldSchema("chunk_id", DataType.VARCHAR, is_primary=True, max_length=64)]
    fields += [FieldSchema(name, DataType.VARCHAR, max_length=length) for name, length in _TEXTS.items()]
    fields += [FieldSchema(name, DataType.INT64) for name in _NUMBERS]
    fields += [
        FieldSchema("groups", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=MOST_GROUPS, max_length=1024),
        FieldSchema("ingested_at", DataType.DOUBLE),
        FieldSchema(
            "terms", DataType.VARCHAR, max_length=LONGEST_TEXT, enable_analyzer=True, analyzer_params={"type": "standard"}
        ),
        FieldSchema("dense", DataType.FLOAT_VECTOR, dim=index.dimension),
        FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR),
    ]
    function = Function("bm25", FunctionType.BM25, input_field_names=["terms"], output_field_names=["sparse"])
    return CollectionSchema(fields, functions=[function], description=f"ckllm index made with {index.embedder}")


def properties_of(index: IndexDescription) -> dict[str, str]:
    values = {"embedder": index.embedder, "dimension": str(index.dimension), "schema_version": str(index.schema_version)}
    return {_PROPERTY + key: value for key, value in values.items()}


def description_of(name: str, properties: Mapping[str, str]) -> IndexDescription:
    """StoreError for a collection that ckllm has not made, or a newer ckllm has."""
    try:
        embedder, dimension, version = (properties[_PROPERTY + key] for key in ("embedder", "dimension", "schema_version"))
    except KeyError:
        raise StoreError(f"the Milvus collection {name} was not made by ckllm: choose another --collection") from None
    if int(version) > SCHEMA_VERSION:
        raise StoreError(
            f"the index {name} has schema version {version} and this ckllm knows version {SCHEMA_VERSION}: "
            "use the ckllm that wrote it, or upgrade this one"
        )
    return IndexDescription(name, str(embedder), int(dimension), int(version))


def languages_of(properties: Mapping[str, str]) -> frozenset[str]:
    """Languages of the chunks in the index, "" standing for unknown."""
    return frozenset(part.strip() for part in str(properties.get(_LANGUAGES, "-")).split(",")) - {"-"}


def languages_property(languages: Iterable[str]) -> dict[str, str]:
    # the dash keeps the value from being empty, which Milvus would take for a deletion
    return {_LANGUAGES: ",".join(["-", *sorted(languages)])}


def require_same(found: IndexDescription, wanted: IndexDescription) -> None:
    """StoreError that names both embedders when an index was made with another one."""
    if (found.embedder, found.dimension) != (wanted.embedder, wanted.dimension):
        raise StoreError(
            f"the index {found.name} was made with the embedder {found.embedder} (dimension {found.dimension}), not with "
            f"{wanted.embedder} (dimension {wanted.dimension}): run `ckllm collections reembed`, or choose another --collection"
        )
    if found.schema_version != wanted.schema_version:
        raise StoreError(
            f"the index {found.name} has schema version {found.schema_version}, not {wanted.schema_version}: "
            "run `ckllm collections reembed`, or choose another --collection"
        )


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name an index: letters, digits and _, at most 255, not starting with a digit")
    return name


def row_of(record: ChunkRecord, vector: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, Any]:
    """DataError for what Milvus cannot hold; nothing is ever cut."""
    chunk = record.chunk
    row: dict[str, Any] = {
        "chunk_id": chunk.chunk_id, "document_id": chunk.document_id, "version_id": chunk.version_id, "ordinal": chunk.ordinal,
        "start": chunk.start, "end": chunk.end, "text": chunk.text, "context": chunk.context, "page": chunk.page or 0,
        "section": chunk.section, "kind": chunk.kind.value, "source": record.source, "title": record.title, "lang": record.lang,
        "groups": list(record.groups), "audience": audience(record.groups), "sha256": record.sha256,
        "ingested_at": record.ingested_at, "terms": terms(f"{chunk.context}\n{chunk.text}", record.lang), "dense": vector,
    }  # fmt: skip
    for name, limit in (*_TEXTS.items(), ("terms", LONGEST_TEXT)):
        _check_text(row[name], name, limit, record)
    if len(record.groups) > MOST_GROUPS:
        raise DataError(f"{record.source} has {len(record.groups)} groups: at most {MOST_GROUPS} can be stored")
    return row


def check_vectors(records: Sequence[ChunkRecord], vectors: Vectors) -> None:
    """Vectors must be finite, of unit length, one a record."""
    if vectors.ndim != 2 or len(vectors) != len(records):
        raise DataError(f"{len(records)} chunks came with vectors of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(lengths - 1.0) < 1e-2):
        worst = int(np.argmax(np.nan_to_num(np.abs(lengths - 1.0), nan=np.inf)))
        raise DataError(
            f"the embedder's vector for {records[worst].source} has length {lengths[worst]}, not 1: check the embedder"
        )


def hit_of(rank: int, score: float, chunk_id: str, row: Mapping[str, Any], found_by: str) -> Hit:
    return Hit(
        rank=rank, score=score, text=row["text"], source=row["source"], title=row["title"], page=row["page"] or None,
        section=row["section"], start=row["start"], end=row["end"], document_id=row["document_id"], chunk_id=chunk_id,
        found_by=(found_by,), lang=row["lang"], version_id=row["version_id"], similarity=score if found_by == "dense" else 0.0,
    )  # fmt: skip


def record_of(row: Mapping[str, Any]) -> ChunkRecord:
    chunk = Chunk(
        row["chunk_id"], row["document_id"], row["version_id"], row["ordinal"], row["start"], row["end"], row["text"],
        row["context"], row["page"] or None, row["section"], ElementKind(row["kind"]),
    )  # fmt: skip
    groups = tuple(str(group) for group in row["groups"])
    return ChunkRecord(chunk, row["source"], row["title"], row["lang"], groups, row["sha256"], row["ingested_at"])


def _check_text(value: str, name: str, limit: int, record: ChunkRecord) -> None:
    try:
        size = len(value) if value.isascii() else len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise DataError(f"{record.source!r}: the {name} of a chunk is not valid Unicode (lone surrogates)") from None
    if size > limit:
        raise DataError(
            f"{record.source}: the {name} of the chunk at {record.chunk.start} takes {size} bytes, and at most {limit} can be "
            "stored: make chunks smaller (ingest.chunk_tokens)"
        )
