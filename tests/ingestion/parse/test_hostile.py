"""Files made to harm are refused or neutralised, each with a reason, and cost only themselves."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckllm.errors import DataError
from ingestion.parse.archive import ArchiveLimits, members
from ingestion.parse.worker import ParserPool
from tests.ingestion import hostile_files
from tests.ingestion.parse.reading import read, source_of, write

LIMITS = ArchiveLimits(members=50, total_bytes=40_000_000, member_bytes=30_000_000, ratio=100, free_bytes=1_000_000)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (hostile_files.docx_bomb, "zip bomb"),
        (hostile_files.docx_nested, "hostile XML"),
        (hostile_files.xml_laughs, "hostile XML"),
        (hostile_files.json_nested, "nested|broken JSON"),
    ],
)
def test_bombs_are_refused(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    with ParserPool(1, 30, 1000, tmp_path) as pool, pytest.raises(DataError, match=reason):
        pool.submit(source_of(make(tmp_path))).result()


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    try:
        text = read(hostile_files.docx_entity_bomb(tmp_path)).text
    except DataError as error:
        assert "XML" in str(error)
    else:
        assert text.replace("  ", " ") == "before after"


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.txt", "the secret of the harbour")
    with pytest.raises(DataError, match="external entities"):
        read(hostile_files.xml_external(tmp_path, secret))
    try:
        assert "secret of" not in read(hostile_files.docx_external_entity(tmp_path, secret)).text
    except DataError as error:
        assert "XML" in str(error)


def test_deeply_nested_html_keeps_what_is_above(tmp_path: Path) -> None:
    assert "shallow words here" in read(hostile_files.html_nested(tmp_path)).text


def test_a_pdf_that_inflates_costs_only_itself(tmp_path: Path) -> None:
    with ParserPool(1, 30, 256, tmp_path) as pool:
        bomb = pool.submit(source_of(hostile_files.pdf_bomb(tmp_path)))
        good = pool.submit(source_of(write(tmp_path, "good.txt", "still served")))
        with pytest.raises(DataError, match=r"memory|no text|broken|crashed|stopped"):
            bomb.result()
        assert good.result().text == "still served"


@pytest.mark.parametrize("make", [hostile_files.zip_bomb, hostile_files.gzip_bomb])
def test_archive_bombs(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match="archive bomb"):
        members(source_of(make(tmp_path)), tmp_path / "out", LIMITS)


def tar_of(folder: Path, *entries: tuple[str, bytes, bytes], compressed: bool = True) -> Path:
    """Name, kind and bytes of each member."""
    path = folder / ("made.tgz" if compressed else "made.tar")
    with tarfile.open(path, "w:gz" if compressed else "w") as archive:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_what_is_no_file_in_an_archive_counts_as_well(tmp_path: Path) -> None:
    path = tar_of(tmp_path, ("a.txt", tarfile.REGTYPE, b"words"), ("odd", b"Z", bytes(20_000_000)))
    with pytest.raises(DataError, match="archive bomb"):
        members(source_of(path), tmp_path / "out", LIMITS)
    long_name = tar_of(tmp_path, ("a.txt", tarfile.GNUTYPE_LONGNAME, b"n" * 3_000_000), compressed=False)
    with pytest.raises(DataError, match="header is too long"):
        members(source_of(long_name), tmp_path / "out", LIMITS)


def test_an_archive_that_is_damaged_in_the_middle_is_not_whole(tmp_path: Path) -> None:
    files = [(name, tarfile.REGTYPE, b"words") for name in ("a.txt", "b.txt", "c.txt")]
    path = tar_of(tmp_path, *files, compressed=False)
    data = bytearray(path.read_bytes())
    data[data.index(b"b.txt") + 10] ^= 0xFF
    path.write_bytes(data)
    found, refused = members(source_of(path), tmp_path / "out", LIMITS)
    assert [one.uri.rsplit("!/")[-1] for one in found] == ["a.txt"]
    assert [one.source for one in refused] == [str(path)] and "the rest is lost" in refused[0].reason


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_archives_and_single_files_however_they_are_compressed(tmp_path: Path, suffix: str, opener: Callable[..., Any]) -> None:
    plain = tar_of(tmp_path, ("a.txt", tarfile.REGTYPE, b"words"), compressed=False).read_bytes()
    for name, data, wanted in (("box.tar", plain, "a.txt"), ("b.txt", b"words", "b.txt"), ("zeros", bytes(10_240), "zeros")):
        with opener(tmp_path / f"{name}{suffix}", "wb") as file:
            file.write(data)
        found, refused = members(source_of(tmp_path / f"{name}{suffix}"), tmp_path / "out", LIMITS)
        assert [one.uri.rsplit("!/")[-1] for one in found] == [wanted] and not refused
    with pytest.raises(DataError, match="empty archive"):
        members(source_of(write(tmp_path, "zeros.tar", bytes(10_240))), tmp_path / "out", LIMITS)


def test_archives_with_too_many_members(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than 50 members"):
        members(source_of(hostile_files.zip_of_many(tmp_path, 60)), tmp_path / "out", LIMITS)


def test_members_never_leave_the_folder(tmp_path: Path) -> None:
    path = hostile_files.zip_traversal(tmp_path)
    found, refused = members(source_of(path), tmp_path / "out", LIMITS)
    assert not refused
    assert [one.uri.removeprefix(f"{path}!/") for one in found] == [
        "escaped.txt",
        "etc/absolute.txt",
        "C:/windows/drive.txt",
        "a/b.txt",
        "plain.txt",
    ]
    assert all(one.path.resolve().is_relative_to((tmp_path / "out").resolve()) for one in found)
    assert found[0].path.read_text() == "contents of ../../escaped.txt"


def test_links_are_not_followed(tmp_path: Path) -> None:
    found, refused = members(source_of(hostile_files.tar_links(tmp_path)), tmp_path / "out", LIMITS)
    assert [one.uri.rsplit("!/")[-1] for one in found] == ["honest.txt"]
    assert [one.reason for one in refused] == ["a link or device, not a file"]


def test_encrypted_archives_say_password(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="password"):
        members(source_of(hostile_files.zip_encrypted(tmp_path)), tmp_path / "out", LIMITS)


def test_archives_in_archives_end_at_the_depth(tmp_path: Path) -> None:
    inner = hostile_files.zip_of_many(tmp_path, 2)
    source = source_of(inner)
    deep = type(source)("a.zip!/b.zip!/c.zip", source.path, source.size, source.sha256)
    with pytest.raises(DataError, match="nested"):
        members(deep, tmp_path / "out", LIMITS)


def test_members_of_the_same_name_are_two_documents(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.txt", "one")
        archive.writestr("a.txt", "two")
    found, _ = members(source_of(path), tmp_path / "out", LIMITS)
    assert [(one.uri.rsplit("!/")[-1], one.path.read_text()) for one in found] == [("a.txt", "one"), ("a.txt#2", "two")]


def test_a_broken_archive_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="broken archive"):
        members(source_of(write(tmp_path, "a.gz", b"\x1f\x8b\x08\0 nothing compressed")), tmp_path / "out", LIMITS)


def test_a_mailbox_is_its_messages(tmp_path: Path) -> None:
    box = (
        b"From ada@example.org Fri Mar  1 10:00:00 2024\nSubject: first\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nwords of one\n\n>From the quay\nFrom 1990 on\n--b--\n\n"
        b"From bob@example.org Sat Mar  2 10:00:00 2024\nSubject: second\n\nwords of two\n"
    )
    found, refused = members(source_of(write(tmp_path, "all.mbox", box)), tmp_path / "out", LIMITS)
    assert [one.uri.rsplit("!/")[-1] for one in found] == ["00001.eml", "00002.eml"] and not refused
    first, second = (read(one.path) for one in found)
    assert (first.title, second.title) == ("first", "second")
    assert "From the quay\nFrom 1990 on" in first.text
    assert "words of two" in second.text
