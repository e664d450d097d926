"""A power cut between any two steps, and what the next run makes of it."""

from __future__ import annotations

import copy
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
    write(
        folder, {"changes.txt": "Old text.", "stays.txt": "The same.", "goes.txt": "Soon gone.", "long.txt": "A line.\n\n" * 200}
    )
    mail(folder / "mail.eml", ("kept.txt", "Kept."), ("dropped.txt", "Dropped."))


def second_edition(folder: Path) -> None:
    write(
        folder, {"changes.txt": "New text.", "comes.txt": "Just arrived.", "long.txt": "Another line.\n\n" * 200, "bad.txt": ""}
    )
    (folder / "goes.txt").unlink()
    mail(folder / "mail.eml", ("kept.txt", "Kept."), ("added.txt", "Added."))


def by_source(spans: list[Span]) -> dict[str, list[Span]]:
    return {source: list(group) for source, group in itertools.groupby(spans, key=lambda span: span[0])}


class Scenario:
    """A collection that holds the first edition, to be copied as often as needed, and the folder with the second edition."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "documents"
        self.folder.mkdir()
        first_edition(self.folder)
        kb = collection_in(tmp_path / "first")
        ingest([self.folder], kb, options=OPTIONS)
        self.before = kb.visible()
        self.store = kb.store
        self.home = kb.home
        kb.catalogue.close()
        second_edition(self.folder)
        clean = collection_in(tmp_path / "clean")
        ingest([self.folder], clean, options=OPTIONS)
        clean.check()
        self.after = clean.stored()
        names = {"changes.txt", "comes.txt", "stays.txt", "long.txt", "mail.eml", "mail.eml!/kept.txt", "mail.eml!/added.txt"}
        assert set(by_source(self.after)) == {str(self.folder / name) for name in names}
        self._copies = (tmp_path / f"home{n}" for n in itertools.count())

    def copy(self) -> Collection:
        home = next(self._copies)
        shutil.copytree(self.home, home)
        return collection_in(home, copy.deepcopy(self.store))

    def run(self, kb: Collection, fuse: Fuse) -> None:
        """The second edition, with the power going when the fuse blows."""
        try:
            ingest([self.folder], kb.fused(fuse), sync=True, options=OPTIONS)
        except (PowerCutError, StoreError):
            assert fuse.blown

    def finish(self, kb: Collection, where: str) -> None:
        """The next run ends as a clean one."""
        ingest([self.folder], kb, sync=True, options=OPTIONS)
        assert kb.stored() == self.after, where
        kb.check()
        assert set(kb.states().values()) == {"LIVE", "FAILED"}, where
        kb.catalogue.close()


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    with pytest.MonkeyPatch.context() as patched:
        InlineParsers.parsed = []
        patched.setattr("ingestion.run.ParserPool", InlineParsers)
        yield Scenario(tmp_path_factory.mktemp("exactly-once"))


def gone() -> StoreError:
    return StoreError("the store is not reachable")


@pytest.mark.parametrize(("error", "after"), [(PowerCutError, False), (PowerCutError, True), (gone, False)])
def test_after_a_cut_at_any_step_the_next_run_ends_as_a_clean_one(
    scenario: Scenario, error: Callable[[], BaseException], after: bool
) -> None:
    old, new = by_source(scenario.before), by_source(scenario.after)
    for step in itertools.count(1, 3 if error is gone else 1):
        kb, fuse = scenario.copy(), Fuse(step, after=after, error=error)
        scenario.run(kb, fuse)
        if not fuse.blown:
            kb.catalogue.close()
            assert step > 20, "the scenario has many steps"
            break
        visible = by_source(kb.visible())
        where = f"cut at {fuse.last}, step {step}"
        for source in old.keys() | new.keys() | visible.keys():
            assert visible.get(source, []) in (old.get(source, []), new.get(source, [])), f"{source} is half visible, {where}"
        scenario.finish(kb, where)


def test_after_a_cut_a_run_over_what_was_there_before_ends_as_before(tmp_path: Path, inline: type[InlineParsers]) -> None:
    """The changes are taken back: nothing that was begun of them may stay."""
    scenario = Scenario(tmp_path)
    for step in range(2, 40, 3):
        kb, fuse = scenario.copy(), Fuse(step, after=True)
        scenario.run(kb, fuse)
        for name in ("comes.txt", "bad.txt"):
            (scenario.folder / name).unlink()
        first_edition(scenario.folder)
        ingest([scenario.folder], kb, sync=True, options=OPTIONS)
        assert kb.stored() == scenario.before, f"cut at {fuse.last}, step {step}"
        kb.check()
        kb.catalogue.close()
        second_edition(scenario.folder)


def test_a_second_cut_during_recovery_does_no_harm(scenario: Scenario) -> None:
    for first, second in itertools.product((12, 18, 24, 30), (1, 2, 3, 5)):
        kb = scenario.copy()
        scenario.run(kb, Fuse(first, after=True))
        scenario.run(kb, Fuse(second, after=True))
        scenario.finish(kb, f"cut at step {first}, then {second}")
