"""The catalogue on SQLite and on PostgreSQL: transitions, who sees what, exact text, boxes, failures of the database."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from ckllm.contracts import Access, Box, Chunk, Document, ElementKind, PageSpan, Rejected, Source, VersionState, digest
from ckllm.errors import DataError, StoreError, UnknownDocumentError, UsageError
from ckllm.store.catalogue import Catalogue, CollectionRow
from ckllm.store.catalogue_schema import BLOCK

TEXT = "Héllo\x00 wörld \ud800 नदी.\nSecond line"


@pytest.fixture(autouse=True)
def _main(catalogue: Catalogue) -> None:
    catalogue.create_collection(CollectionRow("main", "main_1", "hashing", 16, 5.0))


def source(uri: str = "/docs/a.txt", sha256: str = "aa") -> Source:
    return Source(uri, Path(uri), 3, sha256)


def write(catalogue: Catalogue, version: str, uri: str = "/docs/a.txt", groups: tuple[str, ...] = (), until: str = "LIVE") -> str:
    """Take a version as far as `until`; returns the document's id."""
    document_id = digest("main", uri)
    catalogue.begin("main", source(uri, sha256=version), version, groups)
    steps = ["PENDING", "PARSED", "EMBEDDED", "LIVE"]
    reached = steps.index(until)
    if reached >= 1:
        spans = ((0, 5), (5, len(TEXT)))
        chunks = [
            Chunk(
                f"{version}-{n}",
                document_id,
                version,
                n,
                start,
                end,
                TEXT[start:end],
                "Title\nintro",
                1 - n or None,
                "A › B",
                kind,
            )
            for n, ((start, end), kind) in enumerate(zip(spans, (ElementKind.TABLE, ElementKind.PARAGRAPH), strict=True))
        ]
        catalogue.parsed(version, Document("A title", TEXT, (), (PageSpan(1, 0, len(TEXT), 612.0, 792.0),), None, "en"), chunks)
    if reached >= 2:
        catalogue.embedded([version])
    if reached >= 3:
        catalogue.go_live([version])
    return document_id


def test_a_version_lives_and_comes_back_exactly(catalogue: Catalogue) -> None:
    document_id = write(catalogue, "v1", groups=("b", "a"))
    assert catalogue.text("v1") == TEXT
    for chunk in (chunks := catalogue.chunks("v1")):
        assert chunk.text == TEXT[chunk.start : chunk.end]
    assert [chunk.chunk_id for chunk in chunks] == ["v1-0", "v1-1"]
    assert (chunks[0].page, chunks[1].page, chunks[0].kind, chunks[0].section) == (1, None, ElementKind.TABLE, "A › B")
    (row,) = catalogue.documents("main")
    assert (row.id, row.source, row.title, row.state, row.chunks, row.pages, row.lang) == (
        document_id, "/docs/a.txt", "A title", "LIVE", 2, 1, "en",
    )  # fmt: skip
    assert row.groups == ("a", "b") and row.reason is None and row.collection == "main"
    (shown,) = catalogue.document_text([document_id])
    assert shown.text == TEXT and [span.end for span in shown.chunks] == [5, len(TEXT)] and shown.pages[0].width == 612.0
    assert catalogue.live("main")["/docs/a.txt"].version_id == "v1"
    (version,) = catalogue.versions("main", VersionState.LIVE)
    assert (version.version_id, version.sha256, version.groups, version.chunk_count) == ("v1", "v1", ("a", "b"), 2)


def test_a_new_version_replaces_the_old_one_in_one_step(catalogue: Catalogue) -> None:
    write(catalogue, "v1")
    write(catalogue, "v2", groups=("staff",), until="EMBEDDED")
    assert catalogue.live("main")["/docs/a.txt"].version_id == "v1"
    assert catalogue.hidden_versions("main") == ("v2",)
    assert catalogue.documents("main")[0].groups == () and catalogue.documents("main")[0].state == "LIVE"
    catalogue.go_live(["v2"])
    assert catalogue.live("main")["/docs/a.txt"].version_id == "v2"
    assert catalogue.documents("main")[0].groups == ("staff",)
    assert catalogue.obsolete("main") == ["v1"] and catalogue.hidden_versions("main") == ("v1",)
    catalogue.forget(["v1"])
    catalogue.forget(["v1", "never there"])
    assert catalogue.obsolete("main") == [] and catalogue.hidden_versions("main") == ()
    with pytest.raises(StoreError, match="no stored text"):
        catalogue.text("v1")


def test_an_unfinished_version_gives_way_to_a_newer_one(catalogue: Catalogue) -> None:
    write(catalogue, "v1", until="PARSED")
    assert catalogue.documents("main")[0].state == "PARSED"
    assert [len(catalogue.documents("main", state=state)) for state in ("pending", "live", "failed")] == [1, 0, 0]
    with pytest.raises(UsageError, match="'odd': give live, pending or failed"):
        catalogue.documents("main", state="odd")
    write(catalogue, "v2", until="PENDING")
    assert catalogue.obsolete("main") == ["v1"]
    assert catalogue.documents("main")[0].state == "PENDING"
    write(catalogue, "v1", until="LIVE")
    assert catalogue.live("main")["/docs/a.txt"].version_id == "v1" and catalogue.text("v1") == TEXT
    assert catalogue.obsolete("main") == ["v2"]


def test_beginning_twice_starts_over(catalogue: Catalogue) -> None:
    write(catalogue, "v1", until="EMBEDDED")
    catalogue.begin("main", source(), "v1", ())
    assert catalogue.versions("main")[0].state is VersionState.PENDING
    assert catalogue.versions("main")[0].chunk_count == 0
    write(catalogue, "v1")
    assert len(catalogue.chunks("v1")) == 2


@pytest.mark.parametrize("until", ["PENDING", "PARSED", "EMBEDDED", "LIVE"])
def test_illegal_transitions_raise_and_change_nothing(catalogue: Catalogue, until: str) -> None:
    document = Document("t", "text", ())
    moves: dict[str, Callable[[], object]] = {
        "PARSED": lambda: catalogue.parsed("v1", document, []),
        "EMBEDDED": lambda: catalogue.embedded(["v1"]),
        "LIVE": lambda: catalogue.go_live(["v1"]),
        "back": lambda: catalogue.back_to_parsed(["v1"]),
        "forgotten": lambda: catalogue.forget(["v1"]),
        "begun": lambda: catalogue.begin("main", source(), "v1", ()),
    }
    legal: dict[str, set[str]] = {
        "PENDING": {"PARSED", "begun"},
        "PARSED": {"EMBEDDED", "begun"},
        "EMBEDDED": {"LIVE", "back", "begun"},
        "LIVE": set(),
    }
    write(catalogue, "v1", until=until)
    for name, move in moves.items():
        if name not in legal[until]:
            with pytest.raises(StoreError, match=r"v1.*(is|LIVE)"):
                move()
            assert str(catalogue.versions("main")[0].state) == until
    with pytest.raises(StoreError, match="knows no version v9"):
        catalogue.embedded(["v9"])


def test_back_to_parsed_keeps_the_text(catalogue: Catalogue) -> None:
    write(catalogue, "v1", until="EMBEDDED")
    catalogue.back_to_parsed(["v1"])
    assert catalogue.text("v1") == TEXT
    catalogue.embedded(["v1"])
    catalogue.go_live(["v1"])


def test_go_live_is_all_or_nothing(catalogue: Catalogue) -> None:
    write(catalogue, "v1", "/a", until="EMBEDDED")
    write(catalogue, "v2", "/b", until="PARSED")
    with pytest.raises(StoreError):
        catalogue.go_live(["v1", "v2"])
    assert catalogue.live("main") == {}


def test_a_failure_is_remembered_and_the_live_version_stays(catalogue: Catalogue) -> None:
    write(catalogue, "v1")
    write(catalogue, "v2", until="PARSED")
    catalogue.failed("main", Rejected("/docs/a.txt", "parse", "broken \ud800 page"), "ee")
    (row,) = catalogue.documents("main")
    assert row.state == "LIVE" and row.reason == "broken \\ud800 page" and catalogue.obsolete("main") == ["v2"]
    catalogue.failed("main", Rejected("/docs/new.pdf", "detect", "no password"), "ff", groups=("g",))
    assert [row.source for row in catalogue.documents("main", state="failed")] == ["/docs/new.pdf"]
    failures = catalogue.failures("main")
    assert [(f.source, f.stage, f.sha256) for f in failures] == [
        ("/docs/a.txt", "parse", "ee"),
        ("/docs/new.pdf", "detect", "ff"),
    ]
    assert [f.source for f in catalogue.failures("main", Access("x"))] == ["/docs/a.txt"]
    [shown] = catalogue.document_text([digest("main", "/docs/new.pdf")])
    assert (shown.text, shown.chunks, shown.reason) == ("", (), "no password")
    write(catalogue, "v3", "/docs/new.pdf")
    write(catalogue, "v4")
    assert catalogue.failures("main") == [] and {row.reason for row in catalogue.documents()} == {None}


def test_groups_decide_who_sees_what(catalogue: Catalogue) -> None:
    public, staff = write(catalogue, "v1", "/public"), write(catalogue, "v2", "/staff", ("staff", "law"))
    ana, bo, none = Access("ana", ("staff",)), Access("bo", ("sales",)), Access()
    assert {row.id for row in catalogue.documents("main", ana)} == {public, staff}
    for access in (bo, none):
        assert [row.id for row in catalogue.documents("main", access)] == [public]
        unknown, hidden = "0" * 32, staff
        with pytest.raises(UnknownDocumentError) as missing:
            catalogue.document_text([unknown], access)
        with pytest.raises(UnknownDocumentError) as invisible:
            catalogue.document_text([public, hidden], access)
        assert str(missing.value).replace(unknown, "") == str(invisible.value).replace(hidden, "")
        with pytest.raises(UnknownDocumentError):
            catalogue.remove([public, staff], access)
    assert [shown.id for shown in catalogue.document_text([staff, public], ana)] == [staff, public]


def test_live_among_tells_what_may_be_shown(catalogue: Catalogue) -> None:
    write(catalogue, "v1")
    write(catalogue, "v2", "/b", until="EMBEDDED")
    assert catalogue.live_among(["v1", "v2", "v3"]) == {"v1"}
    assert catalogue.live_among([]) == frozenset()


def test_removing_leaves_versions_to_be_dropped_from_the_store(catalogue: Catalogue) -> None:
    document_id = write(catalogue, "v1")
    write(catalogue, "v2", until="PARSED")
    assert sorted(catalogue.remove([document_id, document_id])) == ["v1", "v2"]
    assert catalogue.documents() == [] and catalogue.live("main") == {} and catalogue.obsolete("main") == ["v1", "v2"]
    with pytest.raises(UnknownDocumentError):
        catalogue.remove([document_id])
    assert write(catalogue, "v1") == document_id
    catalogue.forget(["v2"])
    assert catalogue.hidden_versions("main") == ()


def test_many_versions_at_once(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.store.catalogue._MANY", 7)  # more ids than one statement takes
    ids = [f"v{n:04}" for n in range(50)]
    for version in ids:
        catalogue.begin("main", source(f"/{version}"), version, ())
        catalogue.parsed(version, Document("", "x", ()), [])
    catalogue.embedded(ids)
    catalogue.go_live(ids)
    assert len(catalogue.live("main")) == 50
    gone = catalogue.remove([row.id for row in catalogue.documents()])
    catalogue.forget(gone)
    assert catalogue.versions("main") == []


def test_collections(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match="already"):
        catalogue.create_collection(CollectionRow("main", "x", "y", 1, 0.0))
    with pytest.raises(UsageError, match="no collection 'none'"):
        catalogue.begin("none", source(), "v1", ())
    with pytest.raises(UsageError, match="no collection 'none'"):
        catalogue.point_collection("none", CollectionRow("none", "x", "y", 1, 0.0))
    catalogue.create_collection(CollectionRow("b", "b_1", "e", 3, 1.5))
    assert [row.name for row in catalogue.collections()] == ["b", "main"]
    write(catalogue, "v1")
    catalogue.point_collection("main", CollectionRow("main", "main_2", "other", 32, 9.0))
    assert catalogue.collection("main") == CollectionRow("main", "main_2", "other", 32, 5.0)
    catalogue.delete_collection("main")
    catalogue.delete_collection("main")
    assert catalogue.collection("main") is None and catalogue.documents() == [] and catalogue.versions("main") == []


def test_boxes_merge_to_one_rectangle_a_line_and_page(catalogue: Catalogue) -> None:
    nan = float("nan")
    length = BLOCK + 40
    boxes = array("f", [nan] * (4 * length))

    def put(at: int, count: int, x: float, y: float) -> None:
        for n in range(count):
            boxes[4 * (at + n) : 4 * (at + n) + 4] = array("f", [x + 6 * n, y, x + 6 * n + 6, y + 10])

    first = BLOCK - 20  # the quote crosses the border between two stored blocks
    put(first, 10, 72, 100)
    put(first + 11, 9, 72 + 66, 101)  # the same line after a space without a box
    put(first + 20, 10, 72, 114)
    put(first + 30, 5, 400, 114)  # the other column
    put(first + 35, 5, 72, 114)  # the next page, the same place
    pages = (PageSpan(1, 0, first + 35, 612, 792), PageSpan(2, first + 35, length, 612, 792))
    catalogue.begin("main", source(), "v1", ())
    catalogue.parsed("v1", Document("", "x" * length, (), pages, boxes), [])
    assert catalogue.boxes("v1", first, first + 40) == (
        Box(1, 72, 100, 192, 111), Box(1, 72, 114, 132, 124), Box(1, 400, 114, 430, 124), Box(2, 72, 114, 102, 124),
    )  # fmt: skip
    assert catalogue.boxes("v1", first + 2, first + 4) == (Box(1, 84, 100, 96, 110),)
    assert catalogue.boxes("v1", first + 10, first + 11) == () == catalogue.boxes("v1", 5, 5)
    assert catalogue.boxes("none", 0, 5) == ()


def test_names_that_are_not_unicode_are_refused(catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match=r"\\udcff.*rename"):
        catalogue.begin("main", source("/docs/\udcff.txt"), "v1", ())
    catalogue.failed("main", Rejected("/docs/\udcff.txt", "detect", "not valid Unicode"))
    assert catalogue.documents()[0].source == "/docs/\\udcff.txt"


def test_threads_share_a_catalogue(catalogue: Catalogue) -> None:
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(10):
                write(catalogue, f"v{thread}-{n}", f"/{thread}/{n % 3}")
                catalogue.documents("main")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(catalogue.live("main")) == 12


def test_any_sequence_of_steps_keeps_one_live_version_a_document(catalogue: Catalogue) -> None:
    draw = random.Random(5)
    steps: list[Callable[[str, str], object]] = [
        lambda v, u: write(catalogue, v, u, until=draw.choice(["PENDING", "PARSED", "EMBEDDED", "LIVE"])),
        lambda v, u: catalogue.embedded([v]),
        lambda v, u: catalogue.go_live([v]),
        lambda v, u: catalogue.back_to_parsed([v]),
        lambda v, u: catalogue.forget(catalogue.obsolete("main")),
        lambda v, u: catalogue.failed("main", Rejected(u, "parse", "no")),
        lambda v, u: catalogue.remove([digest("main", u)]),
    ]
    for _ in range(150):
        uri = draw.choice(["/a", "/b"])
        with contextlib.suppress(StoreError, UnknownDocumentError):  # an illegal step: nothing may have changed
            draw.choice(steps)(f"{uri}{draw.randint(0, 3)}", uri)
        versions = catalogue.versions("main")
        for document in {version.document_id for version in versions}:
            states = [version.state for version in versions if version.document_id == document]
            assert states.count(VersionState.LIVE) <= 1
            assert sum(state in ("PENDING", "PARSED", "EMBEDDED") for state in states) <= 1
        for version in versions:
            if version.state in ("PARSED", "EMBEDDED", "LIVE"):
                assert catalogue.text(version.version_id) == TEXT


def test_a_newer_catalogue_is_refused_by_name(catalogue_url: str, catalogue: Catalogue) -> None:
    from sqlalchemy import text

    with catalogue._engine.begin() as connection:
        connection.execute(text("UPDATE catalogue_meta SET value = '99'"))
    with pytest.raises(StoreError, match=r"schema version 99.*upgrade"):
        Catalogue(catalogue_url)


def test_an_sqlite_catalogue_says_what_is_wrong(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    (tmp_path / "c.db").write_bytes(b"this is no database" * 400)
    with pytest.raises(StoreError, match=r"damaged.*backup") as error:
        Catalogue(url)
    assert "\n" not in str(error.value)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Catalogue(f"sqlite:///{tmp_path / 'folder.db'}")
    with pytest.raises(UsageError, match=r"store\.catalogue"):
        Catalogue("no-such-dialect://x")
    with pytest.raises(StoreError, match=r"does not serve|refused") as error:
        Catalogue("postgresql://user:secret@127.0.0.1:9/x")
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_locked_and_a_full_sqlite_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.store.catalogue_schema.BUSY_TIMEOUT_S", 0.2)
    catalogue = Catalogue(f"sqlite:///{tmp_path / 'c.db'}")
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        catalogue.create_collection(CollectionRow("main", "i", "e", 1, 0.0))
    assert catalogue.collections() == []
    other.execute("ROLLBACK")
    catalogue.create_collection(CollectionRow("main", "i", "e", 1, 0.0))
    with catalogue._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"):
        catalogue.begin("main", source("/" + "x" * 50_000), "v1", ())
    assert catalogue.documents() == []
    mode, sync = (
        catalogue._engine.connect().exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
    )
    assert (mode, sync) == ("wal", 2)
    catalogue.close()
    other.close()
