"""A power cut between any two steps, and what the next run makes of it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from ckllm.errors import StoreError
from ingestion import ingest
from ingestion.options import IngestOptions
from tests.ingestion.collection import Collection, Span, collection_in, write
from tests.ingestion.fakes import Fuse, InlineParsers, PowerCutError

OPTIONS = IngestOptions(checkpoint_chunks=2)


def mail(path: Path, *attachments: tuple[str, str]) -> None:
    message = EmailMessage()
    message["Subject"] = "Minutes"
    message.set_content("See below.")
    for name, text in attachments:
        message.add_attachment(text, filename=name)
    path.write_bytes(message.as_bytes())


def first_edition(folder: Path) -> None:
    write(folder, {"changes.txt": "Old text.", "stays.txt": "The same.", "goes.txt": "Soon gone.", "long.txt": "A line.\n\n" * 200})
    mail(folder / "mail.eml", ("kept.txt", "Kept."), ("dropped.txt", "Dropped."))


def second_edition(folder: Path) -> None:
    write(folder, {"changes.txt": "New text.", "comes.txt": "Just arrived.", "long.txt": "Another line.\n\n" * 200, "bad.txt": ""})
    (folder / "goes.txt").unlink()
    mail(folder / "mail.eml", ("kept.txt", "Kept."), ("added.txt", "Added."))


def by_source(spans: list[Span]) -> dict[str, list[Span]]:
    return {source: list(group) for source, group in itertools.groupby(spans, key=lambda span: span[0])}


def run_into(
    tmp_path: Path, step: int, after: bool, error: Callable[[], BaseException]
) -> tuple[Collection, Path, Fuse, list[Span]]:
    """First edition ingested; then the second, with the power going at that step."""
    folder = tmp_path / "documents"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    kb = collection_in(tmp_path / f"home-{step}-{after}")
    first_edition(folder)
    ingest([folder], kb, options=OPTIONS)
    before = kb.visible()
    second_edition(folder)
    fuse = Fuse(step, after=after, error=error)
    try:
        ingest([folder], kb.fused(fuse), sync=True, options=OPTIONS)
    except (PowerCutError, StoreError):
        assert fuse.blown
    return kb, folder, fuse, before


def expected(tmp_path: Path) -> list[Span]:
    folder = tmp_path / "documents"
    folder.mkdir(exist_ok=True)
    first_edition(folder)
    second_edition(folder)
    kb = collection_in(tmp_path / "clean")
    ingest([folder], kb, options=OPTIONS)
    kb.check()
    shutil.rmtree(folder)
    return kb.stored()


def cuts(tmp_path: Path, error: Callable[[], BaseException]) -> Iterator[tuple[Collection, Path, Fuse, list[Span]]]:
    for after in (False, True):
        for step in itertools.count(1):
            made = run_into(tmp_path, step, after, error)
            if not made[2].blown:
                assert step > 20, "the scenario has many steps"
                break
            yield made


@pytest.mark.parametrize("error", [PowerCutError, lambda: StoreError("gone")], ids=["power cut", "store goes away"])
def test_after_a_cut_at_any_step_the_next_run_ends_as_a_clean_one(
    tmp_path: Path, inline: type[InlineParsers], error: Callable[[], BaseException]
) -> None:
    clean = expected(tmp_path)
    new = by_source(clean)
    for kb, folder, fuse, before in cuts(tmp_path, error):
        old, visible = by_source(before), by_source(kb.visible())
        for source in old.keys() | new.keys() | visible.keys():
            shown = visible.get(source, [])
            assert shown in (old.get(source, []), new.get(source, [])), f"{source} is half visible after {fuse.last} ({fuse.steps})"
        ingest([folder], kb, sync=True, options=OPTIONS)
        where = f"cut at {fuse.last}, step {fuse.steps}"
        assert kb.stored() == clean, where
        kb.check()
        assert set(kb.states().values()) == {"LIVE", "FAILED"}, where
        kb.catalogue.close()


def test_a_second_cut_during_recovery_does_no_harm(tmp_path: Path, inline: type[InlineParsers]) -> None:
    clean = expected(tmp_path)
    for first, second in itertools.product((6, 12, 18, 24), (1, 2, 3, 5, 8)):
        shutil.rmtree(tmp_path / f"home-{first}-True", ignore_errors=True)
        kb, folder, _, _ = run_into(tmp_path, first, True, PowerCutError)
        fuse = Fuse(second, after=True)
        try:
            ingest([folder], kb.fused(fuse), sync=True, options=OPTIONS)
        except PowerCutError:
            assert fuse.blown
        ingest([folder], kb, sync=True, options=OPTIONS)
        assert kb.stored() == clean
        kb.check()
        kb.catalogue.close()
