from __future__ import annotations

import os
import tarfile
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest

from ckllm.contracts import Document, IngestReport, VersionState
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import StoreError, UnknownDocumentError, UsageError
from ingestion import ingest
from ingestion.options import IngestOptions, Progress
from ingestion.pipeline import named, remove, retry
from tests.ingestion.collection import Collection, names, write
from tests.ingestion.fakes import InlineParsers, Late

TEXT = "The first paragraph says something.\n\nThe second one says more."


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed, len(report.rejected)


def reasons(report: IngestReport) -> dict[str, tuple[str, str]]:
    return {Path(one.source).name: (one.stage, one.reason) for one in report.rejected}


def test_documents_are_added_then_unchanged_then_updated(kb: Collection, folder: Path) -> None:
    a, _ = write(folder, {"a.txt": TEXT, "sub/b.md": "# Heading\n\nBody."})
    assert counts(ingest([folder], kb)) == (2, 0, 0, 0, 0)
    kb.check()
    InlineParsers.parsed.clear()
    again = ingest([folder], kb)
    assert counts(again) == (0, 0, 2, 0, 0) and again.chunks == 0
    assert InlineParsers.parsed == [], "unchanged files are not parsed"
    a.write_text("Something else.")
    assert counts(ingest([folder], kb)) == (0, 1, 1, 0, 0)
    kb.check()
    assert [text for source, *_, text in kb.stored() if source == str(a)] == ["Something else."]


@pytest.mark.parametrize("late", [Late, Future])
def test_files_that_are_parsed_at_once_are_all_taken(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch, late: type[Future[Document]]
) -> None:
    monkeypatch.setattr("tests.ingestion.fakes.Late", late)
    write(folder, {f"{n:02d}.txt": f"Number {n}." for n in range(25)})
    assert counts(ingest([folder], kb, options=IngestOptions(workers=1))) == (25, 0, 0, 0, 0)
    kb.check()


def test_equal_bytes_under_two_names_are_two_documents(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, "b.txt": TEXT})
    assert ingest([folder], kb).added == 2
    assert len(kb.catalogue.documents("main")) == 2


def test_a_source_given_twice_is_counted_once(kb: Collection, folder: Path) -> None:
    (a,) = write(folder, {"a.txt": TEXT})
    assert counts(ingest([folder, a, str(folder / "*.txt")], kb)) == (1, 0, 0, 0, 0)


@pytest.mark.parametrize("groups", [("",), ("staff", " ")])
def test_a_group_without_a_name_is_refused(kb: Collection, folder: Path, groups: tuple[str, ...]) -> None:
    write(folder, {"a.txt": TEXT})
    with pytest.raises(UsageError, match="group's name is empty"):
        ingest([folder], kb, groups=groups)
    assert kb.catalogue.documents("main") == []


def test_a_folder_whose_name_ends_like_an_archives_mark_is_a_folder(kb: Collection, folder: Path) -> None:
    write(folder, {"new!/really!/a.txt": TEXT, "new!/really!/broken.pdf": "%PDF-1.7 nothing more"})
    with zipfile.ZipFile(folder / "new!" / "really!" / "b.zip", "w") as archive:
        archive.writestr("member.txt", TEXT)
    first = ingest([folder], kb)
    assert (counts(first), [Path(one.source).name for one in first.rejected]) == ((2, 0, 0, 0, 1), ["broken.pdf"])
    assert counts(ingest([folder], kb, sync=True)) == (0, 0, 2, 0, 1), "what is there is not removed"
    assert [one.source for one in retry(kb).rejected] == [one.source for one in first.rejected]
    (folder / "new!" / "really!" / "a.txt").unlink()
    (folder / "new!" / "really!" / "b.zip").unlink()
    assert ingest([folder / "new!"], kb, sync=True).removed == 2


def test_bad_files_are_rejected_with_reasons_and_do_not_stop_the_others(kb: Collection, folder: Path) -> None:
    write(folder, {"good.txt": TEXT, "empty.txt": "", "white.txt": "  \n ", "big.txt": "word " * 300})
    (folder / "rubbish.bin").write_bytes(os.urandom(4000))
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "itself").symlink_to("itself")
    report = ingest([folder, folder / "missing.txt"], kb, options=IngestOptions(max_file_bytes=1400))
    found = reasons(report)
    assert report.added == 1
    assert found.keys() == {
        "empty.txt", "white.txt", "big.txt", "rubbish.bin", "pipe", "loop", "dangling", "itself", "missing.txt",
    }  # fmt: skip
    stages = {name: stage for name, (stage, _) in found.items()}
    assert stages.pop("missing.txt") == "fetch" and stages.pop("white.txt") in ("detect", "parse")
    assert set(stages.values()) == {"detect"}, found
    assert "no text" in found["white.txt"][1] or "empty" in found["white.txt"][1]
    kb.check()
    failed = {Path(row.source).name for row in kb.catalogue.documents("main", state="failed")}
    assert failed == found.keys() - {"missing.txt"}, "what does not exist is not remembered"


def test_an_unreadable_file_is_rejected(kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, _ = write(folder, {"locked.txt": TEXT, "open.txt": TEXT})
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # root reads everything
        real = Path.open

        def refuse(self: Path, *args: str, **kwargs: str) -> object:
            if self == locked:
                raise PermissionError(13, "Permission denied", str(self))
            return real(self, *args, **kwargs)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", refuse)
    report = ingest([folder], kb)
    assert counts(report) == (1, 0, 0, 0, 1)
    assert reasons(report)["locked.txt"][0] == "fetch" and "ermission" in reasons(report)["locked.txt"][1]


def test_a_file_that_breaks_keeps_its_live_version_and_the_failure_is_noted_until_it_is_mended(
    kb: Collection, folder: Path
) -> None:
    (a,) = write(folder, {"a.txt": TEXT})
    ingest([folder], kb)
    before = kb.visible()
    a.write_bytes(b"")
    assert counts(ingest([folder], kb)) == (0, 0, 0, 0, 1)
    assert kb.visible() == before
    (row,) = kb.catalogue.documents("main")
    assert row.state == "LIVE" and "empty" in (row.reason or "")
    a.write_text(TEXT)
    assert counts(ingest([folder], kb)) == (0, 0, 1, 0, 0)
    assert kb.catalogue.documents("main")[0].reason is None


def test_groups_make_another_version(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT})
    ingest([folder], kb, groups=["staff", "board"])
    assert counts(ingest([folder], kb, groups=["board", "staff"])) == (0, 0, 1, 0, 0)
    assert counts(ingest([folder], kb, groups=["board"])) == (0, 1, 0, 0, 0)
    assert {record.groups for records, _ in kb.store.scan(kb.index.name) for record in records} == {("board",)}
    kb.check()


def test_sync_removes_what_is_gone_and_nothing_else(kb: Collection, folder: Path, tmp_path: Path) -> None:
    a, _, c = write(folder, {"a.txt": TEXT, "b.txt": TEXT, "deep/c.txt": TEXT})
    (elsewhere,) = write(tmp_path / "elsewhere", {"d.txt": TEXT})
    ingest([folder, elsewhere], kb)
    a.unlink()
    c.unlink()
    assert ingest([folder], kb).removed == 0
    assert ingest([folder / "*.txt"], kb, sync=True).removed == 1
    assert ingest([folder], kb, sync=True).removed == 1
    assert kb.states().keys() == {"b.txt", "d.txt"}
    kb.check()
    elsewhere.unlink()
    report = ingest([elsewhere], kb, sync=True)
    assert report.removed == 1 and names([one.source for one in report.rejected]) == ["d.txt"]


def test_sync_keeps_the_documents_of_a_folder_that_is_missing_or_cannot_be_listed(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"sub/a.txt": TEXT})
    ingest([folder], kb)
    moved = folder.rename(folder.with_name("unmounted"))
    assert ingest([folder], kb, sync=True).removed == 0
    moved.rename(folder)
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = ingest([folder], kb, sync=True)
    assert report.removed == 0 and reasons(report)["sub"][0] == "fetch"


def test_an_archive_is_a_folder(kb: Collection, folder: Path) -> None:
    path = folder / "box.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", TEXT)
        archive.writestr("inner/b.txt", TEXT)
        archive.writestr("empty.txt", "")
    report = ingest([folder], kb)
    assert counts(report) == (2, 0, 0, 0, 1)
    assert report.rejected[0].source == f"{path}!/empty.txt"
    assert counts(ingest([folder], kb)) == (0, 0, 2, 0, 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "Other text.")
    assert counts(ingest([folder], kb)) == (0, 1, 0, 2, 0)
    kb.check()
    path.unlink()
    assert ingest([folder], kb, sync=True).removed == 1
    assert kb.stored() == []


def test_an_archive_beside_a_folder_of_its_members_names(kb: Collection, folder: Path) -> None:
    write(folder, {"wow!/a.txt": TEXT})
    with zipfile.ZipFile(folder / "wow", "w") as archive:
        archive.writestr("a.txt", "Other text.")
    first = ingest([folder], kb)
    assert (counts(first), reasons(first)["wow"][0]) == ((1, 0, 0, 0, 1), "detect")
    assert "rename" in reasons(first)["wow"][1]
    again = ingest([folder], kb, sync=True)
    assert counts(again) == (0, 0, 1, 0, 1) and kb.states() == {"wow": "FAILED", "a.txt": "LIVE"}
    kb.check()
    (folder / "wow").rename(folder / "box.zip")
    assert counts(ingest([folder], kb, sync=True)) == (1, 0, 1, 1, 0)


def test_a_message_beside_a_folder_of_its_attachments_names(kb: Collection, folder: Path) -> None:
    write(folder, {"mail.eml!/a.txt": TEXT})
    (folder / "mail.eml").write_bytes(message(("a.txt", b"Other text.")))
    report = ingest([folder], kb)
    assert counts(report) == (2, 0, 0, 0, 1) and "rename" in report.rejected[0].reason
    assert counts(ingest([folder], kb, sync=True)) == (0, 0, 2, 0, 0)
    kb.check()


def test_an_address_that_nothing_can_fetch_is_refused_and_leaves_nothing(kb: Collection) -> None:
    report = ingest(["ftp://example.org/manual.pdf"], kb)
    assert [one.stage for one in report.rejected] == ["fetch"] and "http" in report.rejected[0].reason
    assert kb.catalogue.documents(None) == []


def test_an_archive_that_takes_the_place_of_a_document(kb: Collection, folder: Path, tmp_path: Path) -> None:
    (path,) = write(folder, {"thing": TEXT})
    ingest([folder], kb)
    (inner,) = write(tmp_path, {"inner.txt": TEXT})
    with tarfile.open(path, "w") as archive:
        archive.add(inner, "inner.txt")
    assert counts(ingest([folder], kb)) == (1, 0, 0, 0, 0)
    assert kb.states() == {"inner.txt": "LIVE"}
    kb.check()


def message(*attachments: tuple[str, bytes]) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Minutes"
    mail["From"] = "a@example.org"
    mail.set_content("Please find the minutes attached.")
    for name, data in attachments:
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


def test_attachments_are_documents_of_their_own(kb: Collection, folder: Path) -> None:
    path = folder / "mail.eml"
    path.write_bytes(message(("notes.txt", TEXT.encode()), ("bad.bin", os.urandom(3000))))
    first = ingest([folder], kb)
    assert counts(first) == (2, 0, 0, 0, 1)
    InlineParsers.parsed.clear()
    assert counts(ingest([folder], kb)) == (0, 0, 2, 0, 1), "what is in an unchanged message is counted as it was"
    assert InlineParsers.parsed == []
    assert counts(ingest([folder], kb, sync=True)) == (0, 0, 2, 0, 1)
    path.write_bytes(message(("other.txt", b"Another attachment.")))
    assert counts(ingest([folder], kb)) == (1, 1, 0, 2, 0)
    assert kb.states() == {"mail.eml": "LIVE", "other.txt": "LIVE"}
    kb.check()


def test_an_archive_in_a_message_is_opened(kb: Collection, folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.writestr("a.txt", TEXT)
    path = folder / "mail.eml"
    path.write_bytes(message(("box.zip", (tmp_path / "box.zip").read_bytes())))
    assert counts(ingest([folder], kb)) == (2, 0, 0, 0, 0)
    assert counts(ingest([folder], kb)) == (0, 0, 2, 0, 0)
    assert [row.source for row in kb.catalogue.documents("main")] == [str(path), f"{path}!/box.zip!/a.txt"]
    path.write_bytes(message())
    assert counts(ingest([folder], kb)) == (0, 1, 0, 1, 0)
    kb.check()


def test_retry_takes_up_what_failed(kb: Collection, folder: Path) -> None:
    bad, _ = write(folder, {"bad.txt": "", "good.txt": TEXT})
    ingest([folder], kb, groups=["staff"])
    bad.write_text(TEXT)
    assert counts(retry(kb)) == (1, 0, 0, 0, 0)
    assert {row.groups for row in kb.catalogue.documents("main")} == {("staff",)}
    assert counts(retry(kb)) == (0, 0, 0, 0, 0)
    kb.check()


def test_retry_gives_the_groups_of_the_failed_attempt(kb: Collection, folder: Path) -> None:
    """A document that was to be restricted, and could not be read then, is not given back to everybody by trying again."""
    (path,) = write(folder, {"a.txt": TEXT})
    ingest([folder], kb)
    path.write_text("")
    assert ingest([folder], kb, groups=["board"]).rejected
    assert {row.groups for row in kb.catalogue.documents("main")} == {()}, "the version that is live stays as it is"
    path.write_text(TEXT + " And more.")
    retry(kb)
    assert {row.groups for row in kb.catalogue.documents("main")} == {("board",)}
    path.write_text("")
    ingest([folder], kb, groups=["board"])
    path.write_text(TEXT)
    retry(kb, groups=["staff"])
    assert {row.groups for row in kb.catalogue.documents("main")} == {("staff",)}
    kb.check()


def test_a_name_that_looks_like_a_pattern_is_a_name(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, "b.txt": TEXT, "[ab].txt": ""})
    assert ingest(named([str(folder / "*.txt")]), kb).rejected[0].reason.startswith("no such file")
    assert counts(ingest([str(folder / "[ab].txt")], kb)) == (0, 0, 0, 0, 1), "a file of that name goes before a pattern"
    (folder / "[ab].txt").unlink()
    report = retry(kb)
    assert counts(report) == (0, 0, 0, 0, 1)
    assert report.rejected[0].source == str(folder / "[ab].txt")
    assert kb.states().keys() <= {"[ab].txt"}, "a.txt and b.txt were not asked for"


def test_few_statements_a_document(kb: Collection, folder: Path) -> None:
    from sqlalchemy import event

    write(folder, {f"{n}.txt": f"{TEXT} It is number {n}." for n in range(30)})
    assert kb.index.name
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name == "parse":  # how many batches the writer sees depends on the machine
            seen.append(statement)

    event.listen(kb.catalogue._engine, "before_cursor_execute", note)
    assert ingest([folder], kb).added == 30
    assert len(seen) < 30 * 10 + 20, "begin 5 with its BEGIN, parsed 4"


def test_remove_takes_everything(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, "b.txt": TEXT})
    ingest([folder], kb)
    first, second = (row.id for row in kb.catalogue.documents("main"))
    with pytest.raises(UnknownDocumentError):
        remove(kb, [first, "nonsense"])
    assert len(kb.catalogue.documents("main")) == 2, "nothing is removed when one id is wrong"
    assert remove(kb, [first]) == 1
    assert [row.id for row in kb.catalogue.documents("main")] == [second]
    kb.check()


class BrokenEmbedder(HashingEmbedder):
    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        vectors = super().embed(texts, purpose)
        vectors[["poison" in text for text in texts]] = np.nan
        return vectors


def test_a_vector_that_is_not_finite_costs_its_document_only(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, "b.txt": "This is poison."})
    kb.embedder = BrokenEmbedder(64)
    report = ingest([folder], kb)
    assert counts(report) == (1, 0, 0, 0, 1) and report.rejected[0].stage == "embed"
    kb.check()
    kb.embedder = HashingEmbedder(64)
    assert counts(ingest([folder], kb)) == (1, 0, 1, 0, 0)
    kb.check()


class ShortEmbedder(HashingEmbedder):
    """Some of its vectors have no length, which the store refuses."""

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        vectors = super().embed(texts, purpose)
        vectors[["poison" in text for text in texts]] = 0.0
        return vectors


def test_nothing_more_is_stored_of_a_document_that_the_store_refused(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.embed.BATCH_TOKENS", 64)
    paragraphs = [f"# Part {n}\n\nSome words of it." for n in range(20)]
    write(folder, {"a.md": "\n\n".join(["# First\n\n" + "So much poison is in it. " * 5, *paragraphs]), "b.md": TEXT})
    kb.embedder = ShortEmbedder(64)
    report = ingest([folder], kb, options=IngestOptions(checkpoint_chunks=1))
    assert counts(report) == (1, 0, 0, 0, 1) and report.rejected[0].stage == "store"
    kb.check()


def ingest_without_a_store(kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the store is not reachable")

    with monkeypatch.context() as broken:
        broken.setattr(kb.store, "upsert", fail)
        with pytest.raises(StoreError):
            ingest([folder], kb)


def test_a_store_that_goes_away_ends_the_run_and_the_next_one_finishes(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {f"{n}.txt": f"{TEXT} Number {n}." for n in range(20)})

    ingest_without_a_store(kb, folder, monkeypatch)
    assert kb.visible() == []
    parsed = {version.source for version in kb.catalogue.versions("main", VersionState.PARSED)}
    InlineParsers.parsed.clear()
    assert ingest([folder], kb).added == 20
    assert parsed and parsed.isdisjoint(InlineParsers.parsed), "what is parsed is not parsed again"
    kb.check()


def test_what_was_begun_of_a_change_that_was_taken_back_goes(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a,) = write(folder, {"a.txt": TEXT})
    ingest([folder], kb)
    a.write_text("What should never have been written down.")

    ingest_without_a_store(kb, folder, monkeypatch)
    a.write_text(TEXT)
    assert counts(ingest([folder], kb)) == (0, 0, 1, 0, 0)
    kb.check()
    assert retry(kb).unchanged == 0, "there is nothing left to try"


def test_a_full_disk_is_a_store_error(kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"a.txt": TEXT})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(kb.store, "flush", full)
        with pytest.raises(StoreError, match="disk is full"):
            ingest([folder], kb)
    assert kb.visible() == []
    assert ingest([folder], kb).added == 1
    kb.check()


def test_a_disk_that_is_full_while_an_archive_is_opened_is_no_fault_of_the_archive(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(folder / "box.zip", "w") as archive:
        archive.writestr("a.txt", TEXT)
        archive.writestr("b.txt", TEXT)
    real = Path.open

    def full(self: Path, *args: str, **kwargs: str) -> object:
        if self.name == "00002.txt":
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **kwargs)  # type: ignore[call-overload]

    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", full)
        with pytest.raises(StoreError, match="disk is full"):
            ingest([folder], kb)
    assert ingest([folder], kb).added == 2
    kb.check()


def test_progress_ends_with_everything_done(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, "b.txt": "", "c.txt": TEXT})
    told: list[Progress] = []
    report = ingest([folder], kb, progress=told.append)
    assert told[-1].done == told[-1].found == 3
    assert told[-1].rejected == 1 and report.stages.keys() >= {"fetch", "detect", "parse", "chunk", "embed", "store"}
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)


def test_hidden_names_and_the_home_directory_are_not_sources(kb: Collection, folder: Path) -> None:
    write(folder, {"a.txt": TEXT, ".git/config": TEXT, ".hidden.txt": TEXT})
    kb.home = folder / "home"
    write(kb.home, {"notes.txt": TEXT})
    assert counts(ingest([folder], kb)) == (1, 0, 0, 0, 0)
    assert counts(ingest([folder / ".hidden.txt"], kb)) == (1, 0, 0, 0, 0), "given by name it is one"


def test_the_home_directory_is_no_source_however_it_is_written(kb: Collection, folder: Path, tmp_path: Path) -> None:
    write(folder, {"a.txt": TEXT, "sub/b.txt": TEXT, "home/notes.txt": TEXT})
    kb.home = folder / "sub" / ".." / "home"
    assert counts(ingest([folder], kb)) == (2, 0, 0, 0, 0)
    (tmp_path / "link").symlink_to(folder)
    assert counts(ingest([tmp_path / "link"], kb)) == (2, 0, 0, 0, 0)


def test_links_to_files_count_inside_the_folder_only(kb: Collection, folder: Path, tmp_path: Path) -> None:
    (outside,) = write(tmp_path, {"outside.txt": TEXT})
    (a,) = write(folder, {"a.txt": TEXT})
    (folder / "inside").symlink_to(a)
    (folder / "out").symlink_to(outside)
    report = ingest([folder], kb)
    assert counts(report) == (2, 0, 0, 0, 1) and reasons(report)["out"][0] == "detect"
    assert counts(ingest([folder / "out"], kb)) == (1, 0, 0, 0, 0), "a link given by name is followed"


def test_an_empty_source_is_wrong_usage(kb: Collection) -> None:
    with pytest.raises(UsageError):
        ingest([""], kb)


def test_a_name_that_is_not_unicode_is_rejected(kb: Collection, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text(TEXT)
    report = ingest([folder], kb)
    assert counts(report) == (0, 0, 0, 0, 1)
    report.rejected[0].source.encode("utf-8")


def test_the_end_of_every_file_is_told_however_rarely_the_listener_is(
    kb: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.account._LISTEN_EVERY_S", 1e9)
    (folder / "good.txt").write_text("The weir of Ost.", encoding="utf-8")
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("inner.txt", "The quarry of Ost.")
        archive.writestr("hollow.txt", "")
    told: list[Progress] = []
    report = ingest([folder], kb, progress=told.append)
    states = {Path(step.source).name: step.state for progress in told for step in progress.steps}
    assert (states["good.txt"], states["inner.txt"], states["hollow.txt"]) == ("added", "added", "rejected")
    assert report.added == 2
