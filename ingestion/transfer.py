"""Collections as wholes: to one file and back with their vectors, to another embedder, and away."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.contracts import Chunk, Source, VersionState, digest
from ckllm.embedding.base import Vectors
from ckllm.errors import DataError, StoreError, UsageError
from ckllm.store.base import ChunkRecord, IndexDescription
from ckllm.store.catalogue import CollectionRow, StoredVersion
from ckllm.store.catalogue_rows import Begun, Parsed
from ingestion.account import Account
from ingestion.embed import EmbeddedBatch, Row
from ingestion.known import Job, Prepared
from ingestion.options import IngestOptions
from ingestion.parse import PARSER_VERSION
from ingestion.portable import PortableDocument, packed, unpacked
from ingestion.recovery import drop_obsolete, recover
from ingestion.target import Target
from ingestion.workplace import writing
from ingestion.write import Writer

FORMAT = "ckllm collection"
FORMAT_VERSION = 1
_DOCUMENTS, _VECTORS, _MANIFEST = "documents.jsonl", "vectors.npy", "manifest.json"
_BATCH = 512
_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError, RuntimeError)
"""What reading an archive that is no export, or a damaged one, raises."""


def export_collection(kb: Target, file: Path) -> dict[str, int]:
    """Write the live documents of a collection, with texts, boxes and vectors, to one file; returns {"documents", "chunks"}.

    The file appears under its name when it is whole, in place of an earlier export. Raises UsageError where there is no such
    collection, or something else of that name, StoreError where the store lacks chunks.
    """
    if file.exists() and not _is_export(file):
        raise UsageError(f"{file} is there already, and no export of a collection: give another name")
    with writing(kb.home) as scratch:
        row = _collection(kb)
        recover(kb)
        fingerprint = _fingerprint(kb)
        versions = kb.catalogue.versions(kb.collection, VersionState.LIVE)
        places: dict[str, int] = {}
        with (scratch / _DOCUMENTS).open("w", encoding="utf-8") as lines:
            for version in versions:
                chunks = kb.catalogue.chunks(version.version_id)
                places |= {chunk.chunk_id: len(places) + n for n, chunk in enumerate(chunks)}
                current = version.version_id == _version_id(version.document_id, version.sha256, fingerprint, version.groups)
                document = packed(version, kb.catalogue.document(version.version_id), chunks, current=current)
                lines.write(json.dumps(document, ensure_ascii=True) + "\n")
        _gather_vectors(kb, row, places, scratch / _VECTORS)
        manifest = {
            "format": FORMAT, "version": FORMAT_VERSION, "collection": row.name, "embedder": row.embedder,
            "dimension": row.dimension, "fingerprint": fingerprint, "documents": len(versions), "chunks": len(places),
            "sha256": {name: _sha256(scratch / name) for name in (_DOCUMENTS, _VECTORS)},
        }  # fmt: skip
        _write_archive(file, scratch, manifest)
    return {"documents": len(versions), "chunks": len(places)}


def import_collection(kb: Target, file: Path) -> dict[str, int]:
    """Fill a collection from a file that `export_collection` wrote; returns {"documents", "chunks"} written.

    Documents of the same sources are replaced; what is there already is left as it is. Raises DataError for a file that is
    damaged or something else, StoreError where it was made with another embedder.
    """
    account = Account(kb.collection)
    with writing(kb.home) as scratch:
        manifest = _read_archive(file, scratch)
        _check_embedder(kb, file, manifest)
        recover(kb)
        writer = Writer(kb, account, IngestOptions(), ())
        live = kb.catalogue.live(kb.collection)
        vectors = _vectors(scratch / _VECTORS, file, (manifest["chunks"], kb.index.dimension))
        at = 0
        for document in _documents(scratch / _DOCUMENTS, file):
            version = _arriving(kb, document, manifest["fingerprint"], replaces=document.source in live)
            there = live.get(document.source)
            if there is None or there.version_id != version.job.version_id:
                job = version.job
                begun = Begun(job.source, job.version_id, job.groups)
                kb.catalogue.advance(kb.collection, [begun], [Parsed(job.version_id, document.document, version.chunks)])
                for first in range(0, len(version.chunks), _BATCH):
                    rows = [Row(version, chunk) for chunk in version.chunks[first : first + _BATCH]]
                    writer.write(EmbeddedBatch(rows, np.array(vectors[at + first : at + first + len(rows)])))
            at += len(version.chunks)
        writer.checkpoint()
    report = account.report()
    if report.rejected:
        one, many = report.rejected[0], len(report.rejected)
        raise DataError(f"{many} documents of {file} could not be stored, the others are: {one.source}: {one.reason}")
    return {"documents": report.added + report.updated, "chunks": report.chunks}


def delete_collection(kb: Target) -> int:
    """Remove a collection and its index; returns how many documents it had. UsageError where there is none of that name.

    The index goes first: a run that is killed in between leaves a collection that can be deleted again, and not its texts.
    """
    with writing(kb.home):
        row = _collection(kb)
        documents = len(kb.catalogue.documents(kb.collection))
        kb.store.drop(row.index)
        kb.catalogue.delete_collection(kb.collection)
    return documents


def reembed(kb: Target) -> dict[str, Any]:
    """Move a collection to the embedder that `kb` was opened with; returns {"embedder", "chunks"}.

    The new index is built beside the old one, which serves until one transaction switches over. A run that is killed on the way
    leaves the old index serving, and the next one goes on with what it built. Raises DataError where chunks are too long for the
    new embedder.
    """
    with writing(kb.home):
        row = _collection(kb)
        embedder = kb.embedder
        drop_obsolete(kb, kb.collection)
        versions = kb.catalogue.versions(kb.collection, VersionState.LIVE)
        chunks = sum(version.chunk_count for version in versions)
        if row.embedder == embedder.name:
            return {"embedder": embedder.name, "chunks": chunks}
        new = replace(row, index=_next_index(row.index, embedder.name), embedder=embedder.name, dimension=embedder.dimension)
        _refuse_long_chunks(kb, versions)
        _build_index(kb, new, versions)
        kb.catalogue.point_collection(kb.collection, new)
        kb.store.drop(row.index)
    return {"embedder": embedder.name, "chunks": chunks}


# -- parts of an export


def _gather_vectors(kb: Target, row: CollectionRow, places: dict[str, int], file: Path) -> None:
    """All vectors in the order of `places`, as one .npy file of shape (chunks, dimension)."""
    from numpy.lib.format import open_memmap

    vectors = open_memmap(file, "w+", np.float32, (len(places), row.dimension))
    found = np.zeros(len(places), np.bool_)
    for records, some in kb.store.scan(row.index) if places else ():
        known = [(places[record.chunk.chunk_id], n) for n, record in enumerate(records) if record.chunk.chunk_id in places]
        if known:
            to, here = map(list, zip(*known, strict=True))
            vectors[to] = some[here]
            found[to] = True
    vectors.flush()
    if not found.all():
        raise StoreError(
            f"the store lacks {int((~found).sum())} of {len(places)} chunks of {row.name!r}: ingest its sources again"
        )


def _write_archive(file: Path, scratch: Path, manifest: dict[str, Any]) -> None:
    part = file.with_name(file.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
            archive.write(scratch / _DOCUMENTS, _DOCUMENTS)
            archive.write(scratch / _VECTORS, _VECTORS, zipfile.ZIP_STORED)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(file)
    except FileNotFoundError:
        raise UsageError(f"cannot write {file}: there is no folder {file.parent}") from None
    finally:
        part.unlink(missing_ok=True)


def _is_export(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(json.loads(archive.read(_MANIFEST))["format"] == FORMAT)
    except (OSError, *_DAMAGED):
        return False


def _read_archive(file: Path, scratch: Path) -> dict[str, Any]:
    """Unpack an export into `scratch`, every part checked against the manifest."""
    if not file.is_file():
        raise UsageError(f"no file at {file}: give one that `ckllm collections export` wrote")
    try:
        with zipfile.ZipFile(file) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
            if manifest["format"] != FORMAT:
                raise DataError(f"{file} is not an exported collection")
            if manifest["version"] > FORMAT_VERSION:
                raise DataError(f"{file} was written by a newer ckllm (format {manifest['version']}): upgrade this one")
            for name in (_DOCUMENTS, _VECTORS):
                archive.extract(name, scratch)
                if _sha256(scratch / name) != manifest["sha256"][name]:
                    raise DataError(f"{file} is damaged: {name} is not what was written; export it again")
            return {"chunks": int(manifest["chunks"]), **{name: str(manifest[name]) for name in ("embedder", "fingerprint")}}
    except _DAMAGED as error:
        raise DataError(f"{file} is not an exported collection, or damaged: {error}") from None


def _vectors(file: Path, archive: Path, shape: tuple[int, int]) -> Vectors:
    try:
        vectors: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{archive} is damaged: {error}") from None
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise DataError(f"{archive} is damaged: its vectors have the shape {vectors.shape}")
    return vectors


def _check_embedder(kb: Target, file: Path, manifest: dict[str, Any]) -> None:
    if manifest["embedder"] != kb.embedder.name:
        raise StoreError(
            f"{file} was made with the embedder {manifest['embedder']}, this knowledge base has {kb.embedder.name}: "
            "set embedding.model to the former, import, and then run `ckllm collections reembed`"
        )


def _documents(file: Path, archive: Path) -> Iterator[PortableDocument]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield unpacked(json.loads(line))
            except (DataError, ValueError, RecursionError) as error:
                raise DataError(f"{archive} is damaged: {error}") from None


def _arriving(kb: Target, arrived: PortableDocument, fingerprint: str, *, replaces: bool) -> Prepared:
    """The document under the ids that it has in this collection."""
    document_id = digest(kb.collection, arrived.source)
    if arrived.current:
        version_id = _version_id(document_id, arrived.sha256, fingerprint, arrived.groups)
    else:
        version_id = digest(document_id, "imported", arrived.version_id)
    source = Source(arrived.source, Path(arrived.source), 0, arrived.sha256, arrived.document.media_type)
    text = arrived.document.text
    chunks = tuple(
        Chunk(
            digest(document_id, version_id, str(one.start), str(one.end)), document_id, version_id, ordinal, one.start, one.end,
            text[one.start : one.end], one.context, one.page, one.section, one.kind,
        )
        for ordinal, one in enumerate(arrived.chunks)
    )  # fmt: skip
    job = Job(source, document_id, version_id, arrived.groups, replaces)
    return Prepared(job, arrived.document.title, arrived.document.lang, chunks)


# -- parts of a change of embedder


def _next_index(index: str, embedder: str) -> str:
    """The same name for the same embedder, so that a run that was killed is gone on with; no other index comes to it."""
    return f"{index.rpartition('_')[0]}_{digest(index, embedder, size=6)}"


def _refuse_long_chunks(kb: Target, versions: Sequence[StoredVersion]) -> None:
    most, long, of = kb.embedder.max_tokens, 0, 0
    for version in versions:
        counts = kb.embedder.count_tokens([chunk.embedding_text for chunk in kb.catalogue.chunks(version.version_id)])
        long += sum(count > most for count in counts)
        of += len(counts)
    if long:
        raise DataError(
            f"{long} of {of} chunks of {kb.collection!r} have more than the {most} tokens that {kb.embedder.name} takes: "
            "set ingest.chunk_tokens lower and ingest the sources into a new collection"
        )


def _build_index(kb: Target, row: CollectionRow, versions: Sequence[StoredVersion]) -> None:
    """All live chunks, and no others, in the index of `row`; what is complete in it already is kept."""
    kb.store.create(IndexDescription(row.index, row.embedder, row.dimension))
    wanted = {version.version_id for version in versions}
    there = {record.chunk.version_id for records, _ in kb.store.scan(row.index) for record in records}
    kb.store.delete_versions(row.index, sorted(there - wanted))
    counts = kb.store.count(row.index, sorted(wanted))
    for version in versions:
        if counts.get(version.version_id) == version.chunk_count:
            continue
        chunks = kb.catalogue.chunks(version.version_id)
        for first in range(0, len(chunks), _BATCH):
            some = chunks[first : first + _BATCH]
            records = [
                ChunkRecord(one, version.source, version.title, version.lang, version.groups, version.sha256, version.created)
                for one in some
            ]
            kb.store.upsert(row.index, records, kb.embedder.embed([one.embedding_text for one in some], "passage"))
    kb.store.flush(row.index)


def _collection(kb: Target) -> CollectionRow:
    row = kb.catalogue.collection(kb.collection)
    if row is None:
        names = ", ".join(one.name for one in kb.catalogue.collections()) or "none yet"
        raise UsageError(f"there is no collection {kb.collection!r} (there are: {names})")
    return row


def _fingerprint(kb: Target) -> str:
    return IngestOptions.from_settings(kb.settings.ingest).fingerprint(PARSER_VERSION)


def _version_id(document_id: str, sha256: str, fingerprint: str, groups: Sequence[str]) -> str:
    return digest(document_id, sha256, fingerprint, *sorted(set(groups)))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
