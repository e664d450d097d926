from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.contracts import Rejected
from ingestion import ingest
from ingestion.listing import Listing
from tests.ingestion.collection import Collection, write

FILES = {"a.txt": "x", "b.md": "x", "sub/c.txt": "x", "sub/deep/d.txt": "x", "sub/[e].txt": "x", ".hidden/f.txt": "x"}


@pytest.fixture
def listed(folder: Path) -> Path:
    write(folder, FILES)
    return folder


def found(folder: Path, pattern: str) -> list[str]:
    listing = Listing(folder / "home")
    return [
        f"rejected: {one.reason}" if isinstance(one, Rejected) else str(Path(one.uri).relative_to(folder))
        for one in listing.candidates(str(folder / pattern))
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a.txt", "b.md", "sub/[e].txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "sub/[e].txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("*/c.txt", ["sub/c.txt"]),
        ("s?b/*.txt", ["sub/[e].txt", "sub/c.txt"]),
        ("[!a]*", ["b.md", "sub/[e].txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("sub/[e].txt", ["sub/[e].txt"]),
        ("sub/**", ["sub/[e].txt", "sub/c.txt", "sub/deep/d.txt"]),
        (".hid*/*", [".hidden/f.txt"]),
        ("[c-a]*", ["rejected: nothing matches this pattern: check the path, and quote it from the shell"]),
        ("[b-ca-]*.md", ["b.md"]),
        ("sub/[[]e].txt", ["sub/[e].txt"]),
        ("sub[!x]c.txt", ["rejected: nothing matches this pattern: check the path, and quote it from the shell"]),
    ],
)
def test_patterns(listed: Path, pattern: str, names: list[str]) -> None:
    assert found(listed, pattern) == names


def test_a_pattern_without_matches_is_rejected(listed: Path) -> None:
    assert found(listed, "*.pdf")[0].startswith("rejected: nothing matches")


def test_a_pattern_looks_into_no_folder_that_it_cannot_match(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    scan = os.scandir

    def scandir(folder: str) -> Iterator[os.DirEntry[str]]:
        looked.append(str(Path(folder).relative_to(listed)))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    for pattern, folders in (("*.txt", ["."]), ("s*/c.txt", [".", "sub"]), ("s*", [".", "sub", "sub/deep"])):
        looked.clear()
        assert found(listed, pattern)
        assert looked == folders, pattern


def test_a_circle_of_links_ends(listed: Path) -> None:
    (listed / "sub" / "circle").symlink_to(listed)
    assert "sub/circle" in found(listed, "")
    assert found(listed, "**/a.txt") == ["a.txt"]


@pytest.mark.parametrize(
    ("given", "uri", "covered"),
    [
        ("", "sub/c.txt", True), ("sub", "sub/c.txt", True), ("sub", "subway.txt", False), ("sub", "a.txt", False),
        ("*.txt", "a.txt", True), ("*.txt", "sub/c.txt", False), ("**/*.txt", "sub/x/y.txt", True), ("a.txt", "a.txt", True),
        ("", "box.zip!/member.txt", True), ("wow!", "wow!/a.txt", True), ("wow!/a.zip", "wow!/a.zip!/member.txt", True),
        ("gone.txt", "gone.txt", True), ("gone", "gone/a.txt", False),
    ],
)  # fmt: skip
def test_what_sync_may_remove(listed: Path, given: str, uri: str, covered: bool) -> None:
    (listed / "wow!").mkdir()
    listing = Listing(listed / "home")
    list(listing.candidates(listed / given))
    assert listing.covers(str(listed / uri)) is covered


def test_standard_input_is_one_document(kb: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"Some text from a pipe.")

    monkeypatch.setattr(sys, "stdin", Input)
    assert ingest(["-"], kb).added == 1
    (row,) = kb.catalogue.documents("main")
    assert row.source.startswith("stdin:") and len(row.source) == len("stdin:") + 12
    assert ingest(["-"], kb).rejected[0].reason.startswith("standard input is empty")
