"""The parts of a knowledge base, each opened once, when it is first needed, and closed with it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import uuid4

import regex

from ckllm.contracts import Access, Message
from ckllm.embedding.base import Embedder
from ckllm.errors import CkllmError, StoreError, UsageError
from ckllm.experts.base import Router
from ckllm.store.base import IndexDescription, VectorStore
from ckllm.store.catalogue import Catalogue, CollectionRow

if TYPE_CHECKING:  # what only answering needs is imported by it: most commands answer nothing
    from ckllm.answering import Answering
    from ckllm.llm.base import BaseLLM
    from ckllm.reader.base import Reader
    from ckllm.retrieval.rerank import Reranker
    from ckllm.retrieval.retriever import Retriever

T = TypeVar("T")
REMEMBERED = 16
"""Mixtures of experts that are not prepared for again."""


class Lazy(Generic[T]):
    """A value that is made when it is first asked for, once."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.RLock()
        self._made: list[T] = []
        self._early: Future[T] | None = None

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                early, self._early = self._early, None
                self._made.append(self._make() if early is None else early.result())
            return self._made[0]

    def ahead(self) -> None:
        """Begin to make the value in a thread of its own; whoever asks for it first waits for it, and gets its error."""
        with self._lock:
            if self._made or self._early:
                return
            self._early = Future()
            threading.Thread(target=_fulfil, args=(self._early, self._make), name="opening", daemon=True).start()

    def taken(self) -> list[T]:
        """The value, if it was made, for closing; it is forgotten."""
        with self._lock:
            if self._early is not None:
                early, self._early = self._early, None
                if early.exception() is None:
                    return [early.result()]
            made, self._made = self._made, []
            return made


def close_all(*opened: Lazy[Any]) -> None:
    """Close and forget what was made, in this order."""
    for lazy in opened:
        for value in lazy.taken():
            close = getattr(value, "close", None)
            if close is not None:
                close()


def _fulfil(early: Future[T], make: Callable[[], T]) -> None:
    try:
        early.set_result(make())
    except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the value
        early.set_exception(error)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a knowledge base works with; `ckllm.assembly` says which implementations."""

    catalogue: Lazy[Catalogue]
    store: Lazy[VectorStore]
    embedder: Lazy[Embedder]
    llm: Lazy[BaseLLM]
    reader: Lazy[Reader | None]
    """What reads question and passage together; None where there is none."""
    index: CollectionIndex
    retriever: Lazy[Retriever]
    reranker: Lazy[Reranker]
    """For a search, which has to be quick."""
    evidence_reranker: Lazy[Reranker]
    """For an answer, which is read from the passages anyway."""
    answering: Lazy[Answering]
    router: Callable[[], Router]
    """As its files and the experts' are now."""
    adapters: Callable[[Mapping[str, float]], dict[str, float]]
    """Weights by expert → weights by adapter folder; labels without an adapter are served by the model as it is."""
    languages: Callable[[Mapping[str, float]], tuple[str, ...]]
    """Weights by expert → the languages that all of them were made for; none where that is not known."""
    rewrite: Callable[[str, Sequence[Message]], str]
    condition: Callable[[str | Mapping[str, Any]], str]
    """A caller's condition, checked and translated for the store."""
    access: Callable[[str], Access]
    """What a user of that name may see."""
    warming: dict[frozenset[tuple[str, float]], threading.Thread] = field(default_factory=dict)
    """Mixtures of experts that the language model was prepared for, by threads that may still be at it."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def warm(self, weights: Mapping[str, float]) -> None:
        """Begin to load the language model with a route's adapters; who asks it waits for it, and gets its error."""
        kind = frozenset(weights.items())
        with self.guard:
            if kind in self.warming:
                return
            ended = [known for known, thread in self.warming.items() if not thread.is_alive()]
            for known in ended[: max(0, len(self.warming) - REMEMBERED + 1)]:
                del self.warming[known]
            self.warming[kind] = threading.Thread(target=self._prepare, args=(weights,), name="warming", daemon=True)
            self.warming[kind].start()

    def _prepare(self, weights: Mapping[str, float]) -> None:
        with contextlib.suppress(CkllmError):  # raised again where the answer is generated
            self.llm().prepare(self.adapters(weights))

    def release_store(self) -> None:
        """Close the store; whoever needs it next opens it again. Nothing may be searching or writing meanwhile."""
        close_all(self.retriever, self.store)

    def close(self) -> None:
        with self.guard:
            threads = list(self.warming.values())
            self.warming.clear()
        for thread in threads:
            thread.join()
        close_all(self.answering, self.reranker, self.evidence_reranker, self.retriever)
        close_all(self.embedder, self.reader, self.llm, self.store, self.catalogue)


class CollectionIndex:
    """The index that a collection points at: found in the catalogue, made where there is none, refused where it does not fit."""

    def __init__(
        self, collection: str, catalogue: Lazy[Catalogue], store: Lazy[VectorStore], embedder: Lazy[Embedder], *, create: bool
    ) -> None:
        self._collection = collection
        self._catalogue = catalogue
        self._store = store
        self._embedder = embedder
        self._create = create
        self._checked: IndexDescription | None = None
        self._lock = threading.Lock()

    def known(self) -> IndexDescription | None:
        """What is written in the catalogue; None where there is no such collection yet. Opens neither store nor embedder."""
        row = self._catalogue().collection(self._collection)
        return IndexDescription(row.index, row.embedder, row.dimension) if row else None

    def absent(self) -> bool:
        """Whether nothing was ever ingested here.

        UsageError where the collection may not be made either: then its name is wrong.
        """
        if self.known() is None:
            if not self._create:
                raise self._unknown()
            return True
        return False

    def opened(self) -> IndexDescription:
        """The index, checked against the embedder and the store; made where it does not exist and may be made."""
        with self._lock:
            known = self.known()
            if known is None:
                known = self._make()
            elif known != self._checked:
                self._check(known)
            self._checked = known
            return known

    def refuse_other_embedder(self, embedder: Embedder) -> None:
        """StoreError, with the mend, where the collection was made with another embedder."""
        known = self.known()
        if known and known.embedder != embedder.name:
            raise StoreError(
                f"collection {self._collection!r} was made with the embedder {known.embedder}, the settings say {embedder.name}:"
                f" set embedding.model back, or run `ckllm collections reembed`"
            )

    def _check(self, known: IndexDescription) -> None:
        self.refuse_other_embedder(self._embedder())
        stored = self._store().describe(known.name)
        if stored is None:
            raise StoreError(
                f"collection {self._collection!r} is in the catalogue but its index {known.name} is not in the store:"
                " bring back the store's folder, or delete the collection and ingest again"
            )
        if stored != known:
            raise StoreError(
                f"index {known.name} says {stored}, the catalogue says {known}: they are not from one knowledge base"
            )

    def _make(self) -> IndexDescription:
        if not self._create:
            raise self._unknown()
        embedder = self._embedder()
        letters = regex.sub(r"[^A-Za-z0-9]+", "_", self._collection).strip("_")[:40]
        index = IndexDescription(f"ckllm_{letters}_{uuid4().hex[:12]}", embedder.name, embedder.dimension)
        self._store().create(index)
        try:
            self._catalogue().create_collection(
                CollectionRow(self._collection, index.name, index.embedder, index.dimension, time.time())
            )
        except UsageError:  # another process made the collection in the meantime: its index counts
            self._store().drop(index.name)
            known = self.known()
            assert known is not None
            self._check(known)
            return known
        return index

    def _unknown(self) -> UsageError:
        names = ", ".join(row.name for row in self._catalogue().collections())
        return UsageError(
            f"there is no collection {self._collection!r}: {f'there are {names}' if names else 'ingest some documents first'}"
        )
