from __future__ import annotations

import hashlib
import io
import json
import zipfile
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ckllm.contracts import Document, PageSpan, RowSet, Source, VersionState
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError, StoreError, UsageError
from ckllm.store.base import IndexDescription
from ckllm.store.catalogue import CollectionRow
from ingestion import ingest
from ingestion.portable import packed, unpacked
from ingestion.transfer import delete_collection, export_collection, import_collection, reembed
from tests.ingestion.collection import Collection, collection_in, write
from tests.ingestion.fakes import Fuse, InlineParsers, PowerCutError

FILES = {"a.txt": "First text.", "b.md": "# Head\n\nBody \U0001f642.", "c.txt": "A sentence of six short words. " * 200}


@pytest.fixture
def filled(kb: Collection, folder: Path) -> Collection:
    write(folder, FILES)
    ingest([folder], kb, groups=["staff"])
    return kb


def vectors(kb: Collection) -> dict[str, list[float]]:
    return {
        record.chunk.text: vector
        for records, some in kb.store.scan(kb.index.name)
        for record, vector in zip(records, some.tolist(), strict=True)
    }


def test_an_export_is_imported_elsewhere_without_embedding(
    filled: Collection, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = export_collection(filled, tmp_path / "all.ckllm")
    assert written["documents"] == 3 and written["chunks"] == len(filled.stored()) > 4
    other = collection_in(tmp_path / "elsewhere", name="copy")
    with monkeypatch.context() as patched:
        patched.setattr(HashingEmbedder, "embed", None)
        assert import_collection(other, tmp_path / "all.ckllm") == written
    assert other.stored() == filled.stored() and vectors(other) == vectors(filled)
    other.check()
    assert {row.groups for row in other.catalogue.documents("copy")} == {("staff",)}
    assert import_collection(other, tmp_path / "all.ckllm") == {"documents": 0, "chunks": 0}, "what is there is left alone"
    InlineParsers.parsed.clear()
    assert ingest([folder], other, groups=["staff"]).unchanged == 3 and InlineParsers.parsed == []


def test_pages_and_boxes_travel(filled: Collection, tmp_path: Path) -> None:
    text = "Two words"
    boxes = array("f", [float(n) for n in range(4 * len(text))])
    document = Document("t", text, (), (PageSpan(1, 0, 9, 595.0, 842.0),), boxes, "en", "application/pdf", ("hidden text",))
    document = replace(document, row_sets=(RowSet(0, 9, (0, 4), 1),))
    version = filled.catalogue.versions("main", VersionState.LIVE)[0]
    source = Source("/x.pdf", Path("/x.pdf"), 1, "0" * 64)
    filled.catalogue.begin("main", source, "v", ())
    chunk = filled.catalogue.chunks(version.version_id)[0]
    filled.catalogue.parsed("v", document, [chunk])
    assert filled.catalogue.document("v") == document
    line = json.loads(json.dumps(packed(version, document, [replace(chunk, start=0, end=9)], current=True)))
    assert unpacked(line).document == document
    with pytest.raises(DataError, match="rows outside the text"):
        unpacked({**line, "row_sets": [[0, 9, [0, 12], 1, False]]})
    for forged in ({"row_sets": [[float("inf"), 9, [0], 1, False]]}, {"chunks": [[0, 9, "", 10**30, "", "paragraph"]]}):
        with pytest.raises(DataError, match="cannot be read"):
            unpacked({**line, **forged})
    assert unpacked({**line, "lang": "\ud800"}).document.lang == "\\ud800"


def test_an_import_that_is_killed_can_be_repeated(filled: Collection, tmp_path: Path) -> None:
    export_collection(filled, tmp_path / "all.ckllm")
    for step in range(1, 14):
        other = collection_in(tmp_path / f"elsewhere{step}")
        with pytest.raises(PowerCutError):
            import_collection(other.fused(Fuse(step, after=True)), tmp_path / "all.ckllm")
        import_collection(other, tmp_path / "all.ckllm")
        assert other.stored() == filled.stored(), step
        other.check()


def test_a_damaged_or_foreign_file_is_refused(filled: Collection, tmp_path: Path) -> None:
    good = tmp_path / "all.ckllm"
    export_collection(filled, good)
    other = collection_in(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        import_collection(other, tmp_path / "missing")
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-200])
    with zipfile.ZipFile(good) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    changed = {**parts, "documents.jsonl": parts["documents.jsonl"].replace(b"First", b"Worst")}
    foreign = {**parts, "manifest.json": b'{"format": "something else"}'}
    manifest = json.loads(parts["manifest.json"])
    bare = {**parts, "manifest.json": json.dumps({key: manifest[key] for key in manifest if key != "embedder"}).encode()}
    for name, content in (("changed", changed), ("foreign", foreign), ("bare", bare)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for part, data in content.items():
                archive.writestr(part, data)
    with zipfile.ZipFile(good) as archive:
        packed_at = archive.getinfo("documents.jsonl").header_offset + 60
    torn = bytearray(good.read_bytes())
    torn[packed_at : packed_at + 40] = b"\xff" * 40
    (tmp_path / "torn").write_bytes(torn)
    for name in ("text", "cut", "changed", "foreign", "bare", "torn"):
        with pytest.raises(DataError):
            import_collection(other, tmp_path / name)
    other.embedder = HashingEmbedder(32)
    with pytest.raises(StoreError, match="hashing-64"):
        import_collection(other, good)
    assert other.catalogue.documents() == []


def test_an_export_takes_the_place_of_an_export_only(filled: Collection, tmp_path: Path) -> None:
    export_collection(filled, tmp_path / "all.ckllm")
    export_collection(filled, tmp_path / "all.ckllm")
    letter = tmp_path / "letter.docx"
    with zipfile.ZipFile(letter, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    kept = letter.read_bytes()
    for file in (letter, tmp_path):
        with pytest.raises(UsageError, match="is there already"):
            export_collection(filled, file)
    assert letter.read_bytes() == kept


def forge(kb: Collection, folder: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """An export whose part `name` was changed, and whose manifest knows of it."""
    export_collection(kb, folder / "all.ckllm")
    with zipfile.ZipFile(folder / "all.ckllm") as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[name] = change(parts[name])
    manifest = json.loads(parts["manifest.json"])
    manifest["sha256"][name] = hashlib.sha256(parts[name]).hexdigest()
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(folder / "forged", "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return folder / "forged"


def test_spans_outside_the_text_are_refused(filled: Collection, tmp_path: Path) -> None:
    def change(data: bytes) -> bytes:
        rows = [json.loads(line) for line in data.splitlines()]
        rows[0]["chunks"][0][1] = 10_000
        return "\n".join(map(json.dumps, rows)).encode()

    forged = forge(filled, tmp_path, "documents.jsonl", change)
    with pytest.raises(DataError, match="outside the text"):
        import_collection(collection_in(tmp_path / "elsewhere"), forged)


def test_an_import_tells_what_could_not_be_stored(filled: Collection, tmp_path: Path) -> None:
    def change(data: bytes) -> bytes:
        numbers, stream = np.load(io.BytesIO(data)), io.BytesIO()
        numbers[0] = np.nan
        np.save(stream, numbers)
        return stream.getvalue()

    forged = forge(filled, tmp_path, "vectors.npy", change)
    other = collection_in(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"1 documents of .*forged could not be stored"):
        import_collection(other, forged)
    assert len(other.catalogue.live("main")) == 2
    other.check()


def test_reembedding_switches_at_once_and_keeps_documents_unchanged(filled: Collection, folder: Path) -> None:
    before, old = filled.stored(), filled.index.name
    filled.embedder = HashingEmbedder(32)
    assert reembed(filled) == {"embedder": "hashing-32", "chunks": len(before)}
    assert filled.index.dimension == 32 and filled.index.name != old
    assert filled.store.describe(old) is None
    assert filled.stored() == before
    filled.check()
    assert ingest([folder], filled, groups=["staff"]).unchanged == 3
    assert reembed(filled)["chunks"] == len(before), "nothing to do the second time"


def test_reembedding_that_is_killed_leaves_the_old_index_and_can_be_started_again(filled: Collection) -> None:
    before, old = filled.stored(), filled.index
    for step in range(1, 6):
        filled.embedder = HashingEmbedder(32)
        with pytest.raises(PowerCutError):
            reembed(filled.fused(Fuse(step, after=False)))
        if filled.catalogue.collection("main").index != old.name:  # type: ignore[union-attr]
            break
        assert filled.stored() == before
    assert reembed(filled)["embedder"] == "hashing-32"
    assert filled.stored() == before
    filled.check()


def test_chunks_too_long_for_the_new_embedder_are_refused_before_anything_is_built(filled: Collection) -> None:
    old = filled.index
    filled.embedder = HashingEmbedder(32, max_tokens=20)
    with pytest.raises(DataError, match="20 tokens"):
        reembed(filled)
    assert filled.catalogue.collection("main").index == old.name  # type: ignore[union-attr]


def test_a_deleted_collection_is_gone(filled: Collection) -> None:
    name = filled.index.name
    assert delete_collection(filled) == 3
    assert filled.store.describe(name) is None and filled.catalogue.documents() == []
    with pytest.raises(UsageError, match="no collection"):
        delete_collection(filled)
    with pytest.raises(UsageError, match="no collection"):
        export_collection(filled, filled.home / "x")


@pytest.mark.parametrize("after", [False, True])
def test_a_deletion_that_is_killed_can_be_repeated(filled: Collection, after: bool) -> None:
    name = filled.index.name
    with pytest.raises(PowerCutError):
        delete_collection(filled.fused(Fuse(1, after=after)))
    assert delete_collection(filled) == 3
    assert filled.store.describe(name) is None and filled.catalogue.documents() == []


def test_collections_of_like_names_move_to_indexes_of_their_own(filled: Collection, tmp_path: Path) -> None:
    rows = [CollectionRow(name, f"ckllm_notes_for_{name}_{n}", "hashing-64", 64, 0.0) for n, name in enumerate(("ana", "ben"))]
    for row in rows:
        filled.store.create(IndexDescription(row.index, row.embedder, row.dimension))
        filled.catalogue.create_collection(row)
    moved = []
    for row in rows:
        kb = Collection(filled.home, filled.catalogue, filled.store, HashingEmbedder(64), row.name)
        ingest([write(tmp_path, {f"{row.name}.txt": f"Of {row.name}."})[0]], kb)
        kb.embedder = HashingEmbedder(32)
        reembed(kb)
        moved.append(kb)
    assert [[span[3] for span in kb.stored()] for kb in moved] == [["Of ana."], ["Of ben."]]


def test_vectors_are_exact(filled: Collection, tmp_path: Path) -> None:
    export_collection(filled, tmp_path / "all.ckllm")
    with zipfile.ZipFile(tmp_path / "all.ckllm") as archive:
        archive.extract("vectors.npy", tmp_path)
    assert np.load(tmp_path / "vectors.npy").shape == (len(filled.stored()), 64)
