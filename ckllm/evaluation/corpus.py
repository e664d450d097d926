"""A corpus on disk, in a knowledge base of its own, and where the evidence of its questions stands there.

The user's own collections are never touched: a set is ingested into a home directory of its own, which shares models, experts
and router with the user's.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ckllm.config import Settings, StoreSettings
from ckllm.evaluation.dataset import CorpusRow, EvalQuestion, Gold
from ckllm.knowledge_base import KnowledgeBase

_UNFIT = re.compile(r"[^\w .,()'-]+")
SHARED = ("models", "experts", "router")
"""What a home of its own takes from the user's."""
BETWEEN = "\n\n"
LIVE = "LIVE"


@dataclass(frozen=True, slots=True)
class Item:
    """An evidence item in a document of the knowledge base."""

    document_id: str
    start: int
    end: int
    grade: float
    is_span: bool
    """False where the whole document (or row) counts."""
    annotations: tuple[int, ...] = ()

    @property
    def span(self) -> tuple[str, int, int]:
        return self.document_id, self.start, self.end


@dataclass(frozen=True, slots=True)
class Place:
    """Where a corpus row stands: a file, and the offset in it."""

    file: Path
    offset: int
    length: int


@contextmanager
def own_home(settings: Settings, keep: Path | None = None) -> Iterator[Settings]:
    """Settings of a home directory of its own, deleted in the end; `keep`: a folder that stays and is used again."""
    with tempfile.TemporaryDirectory(prefix="ckllm-eval-") as temporary:
        home = (keep or Path(temporary)).absolute() / "home"
        home.mkdir(parents=True, exist_ok=True)
        settings.models_folder.mkdir(parents=True, exist_ok=True)
        for name in SHARED:
            link = home / name
            if (settings.home / name).is_dir() and not link.exists():
                link.symlink_to((settings.home / name).absolute(), target_is_directory=True)
        store = StoreSettings(lock_timeout_s=settings.store.lock_timeout_s)
        yield settings.model_copy(update={"home": home, "store": store})


def write_corpus(rows: Sequence[CorpusRow], folder: Path, *, articles: bool = False) -> dict[str, Place]:
    """One text file a row, named by its title; with `articles`, one for all the rows of a title. Row id → its place."""
    groups: dict[str, list[CorpusRow]] = defaultdict(list)
    for row in rows:
        groups[(row.title or row.id) if articles else row.id].append(row)
    places: dict[str, Place] = {}
    for number, group in enumerate(groups.values()):
        title = _UNFIT.sub(" ", group[0].title or group[0].id).strip(" .")[:80] or "document"
        file = folder / f"{number:06d}" / f"{title}.txt"
        text = ""
        for row in group:
            text += BETWEEN if text else ""
            places[row.id] = Place(file.absolute(), len(text), len(row.text))
            text += row.text
        file.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode("utf-8")
        if not file.is_file() or file.read_bytes() != data:
            file.write_bytes(data)
    return places


class EvidenceMap:
    """From evidence items to spans of documents. Texts are read when they are first needed."""

    def __init__(self, kb: KnowledgeBase, places: Mapping[str, Place] | None = None) -> None:
        """`places`: of a corpus; None where items name documents of a user's collection."""
        self._kb, self._places = kb, places
        self._texts: dict[str, str] = {}
        self._documents: dict[str, str] = {}
        for row in kb.documents(state=LIVE):
            for name in (row.id, row.source, Path(row.source).name, row.title):
                self._documents.setdefault(name, row.id)

    def items(self, question: EvalQuestion) -> tuple[list[Item], int]:
        """(the question's evidence that is there, how many items are not)."""
        found = [self._item(gold) for gold in question.evidence if gold.grade > 0]
        return [one for one in found if one is not None], sum(one is None for one in found)

    def text(self, document_id: str) -> str:
        if document_id not in self._texts:
            self._texts[document_id] = self._kb.document_text(document_id).text
        return self._texts[document_id]

    def _item(self, gold: Gold) -> Item | None:
        place = self._places.get(gold.doc) if self._places is not None else None
        if self._places is not None and place is None:
            return None
        document = self._documents.get(str(place.file) if place is not None else gold.doc)
        if document is None:
            return None
        text = self.text(document)
        offset, length = (place.offset, place.length) if place is not None else (0, len(text))
        if not gold.is_span:
            return Item(document, offset, min(offset + length, len(text)), gold.grade, False, gold.annotations)
        span = _placed(text, gold, offset)
        return None if span is None else Item(document, *span, gold.grade, True, gold.annotations)


def _placed(text: str, gold: Gold, offset: int) -> tuple[int, int] | None:
    """The item's span in the extracted text: as given where the text stands there, else the nearest place that holds it."""
    if gold.start is not None and gold.end is not None:
        start, end = gold.start + offset, gold.end + offset
        if (not gold.text and end <= len(text)) or (gold.text and text[start:end] == gold.text):
            return start, end
    if not gold.text:
        return None
    around = offset + (gold.start or 0)
    found = [at for at in (text.rfind(gold.text, 0, around + len(gold.text)), text.find(gold.text, around)) if at >= 0]
    if not found:
        return None
    start = min(found, key=lambda at: abs(at - around))
    return start, start + len(gold.text)
