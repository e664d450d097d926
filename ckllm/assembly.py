"""The composition root: settings become objects here, and only this file knows which.

Opening is cheap: the catalogue is opened when something is asked of it, the store and the models when something is searched,
the language model when something is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckllm.config import Settings, load_settings
from ckllm.contracts import Access
from ckllm.errors import UsageError
from ckllm.home import make_home
from ckllm.knowledge_base import KnowledgeBase
from ckllm.parts import CollectionIndex, Lazy, Parts, close_all

if TYPE_CHECKING:
    from ckllm.answering import Answering
    from ckllm.embedding.base import Embedder
    from ckllm.experts.base import Router
    from ckllm.experts.registry import Registry
    from ckllm.llm.base import BaseLLM
    from ckllm.reader.base import Reader
    from ckllm.retrieval.rerank import Reranker
    from ckllm.retrieval.retriever import Retriever
    from ckllm.retrieval.sentence_scores import SentenceScorer
    from ckllm.store.base import VectorStore
    from ckllm.store.catalogue import Catalogue
    from ckllm.store.keys import KeyRing

RERANK_DEPTH = 6
"""Candidates whose sentences are scored one by one."""
LOCK_STEP_S = 1.0
"""How often to look whether the process that has the embedded store open is a service that shares it."""


@dataclass(frozen=True, slots=True)
class Replacements:
    """Objects to use in place of those that the settings name, for tests and for embedding ckllm in another program."""

    store: VectorStore | None = None
    embedder: Embedder | None = None
    llm: BaseLLM | None = None
    access: Callable[[str], Access] | None = None
    any_embedder: bool = False
    """Do not refuse a collection that was made with another embedder: for moving it to this one, which does not search it."""
    common: Common | None = None
    """What this knowledge base has in common with others of the same process; its owner closes it."""
    reader: Reader | None = None
    """Where an embedder is given and no reader, there is none."""


@dataclass(frozen=True, slots=True)
class Common:
    """What all collections of one home share; each part is opened when it is first needed."""

    catalogue: Lazy[Catalogue]
    store: Lazy[VectorStore]
    embedder: Lazy[Embedder]
    llm: Lazy[BaseLLM]
    reader: Lazy[Reader | None]

    def close(self) -> None:
        close_all(self.embedder, self.reader, self.llm, self.store, self.catalogue)


def open_knowledge_base(
    location: str | Path | None = None,
    collection: str = "main",
    *,
    settings: Settings | None = None,
    create: bool = True,
    replacements: Replacements | None = None,
    **overrides: Any,
) -> KnowledgeBase:
    """Open a collection. `location` is a home directory, or the http(s) address of a Milvus server; None means as the settings
    say.

    With `create`, a collection that does not exist is made when something is first written to it. `overrides` are settings, with
    `section__key` for `section.key`. Raises UsageError for bad settings; StoreError comes with the first use of the store.
    """
    if not collection.strip():
        raise UsageError("the collection's name is empty: leave it out for 'main'")
    chosen = settings or _settings(location, overrides)
    if settings is not None and (location is not None or overrides):
        raise UsageError("give either settings, or a location with overrides, not both")
    return KnowledgeBase(
        collection, chosen, build(chosen, collection, create=create, replacements=replacements or Replacements())
    )


def build(settings: Settings, collection: str, *, create: bool, replacements: Replacements) -> Parts:
    """The parts that the settings describe, none of them opened yet."""
    common = replacements.common or share(settings, replacements)
    experts = Lazy(lambda: _experts(settings))
    latest_router = Lazy(lambda: _router(settings, embedder))
    catalogue, store = common.catalogue, common.store
    embedder = Lazy(lambda: _fitting(common.embedder(), replacements, index))
    index = CollectionIndex(collection, catalogue, store, embedder, create=create)
    scorer = Lazy(lambda: _scorer(embedder()))
    return Parts(
        catalogue=catalogue,
        store=store,
        embedder=embedder,
        llm=common.llm,
        reader=common.reader,
        index=index,
        retriever=Lazy(lambda: _retriever(embedder(), store(), index)),
        reranker=Lazy(lambda: _reranker(scorer(), None)),
        evidence_reranker=Lazy(lambda: _reranker(scorer(), common.reader())),
        answering=Lazy(lambda: _answering(settings, scorer(), embedder(), common.reader())),
        router=lambda: latest_router()(),
        adapters=lambda weights: _adapters(settings, experts(), weights),
        languages=lambda weights: _languages(experts()(), weights),
        rewrite=_rewrite(),
        condition=_condition,
        access=replacements.access or (lambda user: _access(settings, user)),
    )


def with_caution(kb: KnowledgeBase, caution: str) -> KnowledgeBase:
    """The same knowledge base at another level of `answer.caution`. It shares its parts with `kb`, which closes them."""
    settings = kb.settings.model_copy(update={"answer": kb.settings.answer.model_copy(update={"caution": caution})})
    embedder, reader = kb._parts.embedder, kb._parts.reader
    answering = Lazy(lambda: _answering(settings, _scorer(embedder()), embedder(), reader()))
    return KnowledgeBase(kb.collection, settings, replace(kb._parts, answering=answering))


def share(settings: Settings, replacements: Replacements) -> Common:
    """What every collection of these settings works with."""
    return Common(
        catalogue=Lazy(lambda: _catalogue(settings)),
        store=Lazy(lambda: replacements.store or _store(settings)),
        embedder=Lazy(lambda: replacements.embedder or _open_embedder(settings)),
        llm=Lazy(lambda: replacements.llm or _llm(settings)),
        reader=Lazy(lambda: replacements.reader or (None if replacements.embedder else _reader(settings))),
    )


def _settings(location: str | Path | None, overrides: dict[str, Any]) -> Settings:
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    if isinstance(location, str) and location.startswith(("http://", "https://")):
        return load_settings(overrides={"store.uri": location, **values})
    return load_settings(home=location, overrides=values)


def _catalogue(settings: Settings) -> Catalogue:
    from ckllm.store.catalogue import Catalogue

    make_home(settings.home)
    return Catalogue(settings.catalogue_url)


def open_keys(settings: Settings) -> KeyRing:
    """The API keys; they lie in the catalogue's database."""
    from ckllm.store.keys import KeyRing

    make_home(settings.home)
    return KeyRing(settings.catalogue_url)


def _access(settings: Settings, user: str) -> Access:
    ring = open_keys(settings)
    try:
        return ring.access(user)
    finally:
        ring.close()


def _store(settings: Settings) -> VectorStore:
    from ckllm.presence import store_socket
    from ckllm.store.lite import LockedStoreError
    from ckllm.store.milvus import MilvusStore

    make_home(settings.home)
    uri, patience = settings.store_uri, settings.store.lock_timeout_s
    deadline = time.monotonic() + patience
    while True:
        if socket := store_socket(settings):
            return MilvusStore(f"unix:{socket}")
        left = max(0.0, deadline - time.monotonic())
        try:
            token, patient_s = settings.store.token.get_secret_value(), min(LOCK_STEP_S, left)
            return MilvusStore(uri, token, patient_s, shards=settings.store.shards, replicas=settings.store.replicas)
        except LockedStoreError as error:  # by another command, or by a service that is about to announce itself
            if not left:
                raise LockedStoreError(error.folder, patience) from None


def _fitting(embedder: Embedder, replacements: Replacements, index: CollectionIndex) -> Embedder:
    if not replacements.any_embedder:
        index.refuse_other_embedder(embedder)
    return embedder


def _open_embedder(settings: Settings) -> Embedder:
    from ckllm.embedding.table import open_embedder

    return open_embedder(settings.embedding, settings.models_folder)


def _llm(settings: Settings) -> BaseLLM:
    from ckllm.llm.table import open_llm

    return open_llm(settings.llm, settings.models_folder)


def _retriever(embedder: Embedder, store: VectorStore, index: CollectionIndex) -> Retriever:
    from ckllm.retrieval.retriever import Retriever

    return Retriever(store, lambda: index.opened().name, embedder)


def _scorer(embedder: Embedder) -> SentenceScorer:
    from ckllm.citations.sentences import split_sentences
    from ckllm.citations.terms import content_keys
    from ckllm.retrieval.sentence_scores import SentenceScorer

    def split(text: str, lang: str) -> list[tuple[int, int]]:
        return [(span.start, span.end) for span in split_sentences(text, lang)]

    return SentenceScorer(embedder, split, content_keys)


def _reader(settings: Settings) -> Reader | None:
    """The reader that ships; None where the settings want none, or the embedder is not the model that it changes."""
    from ckllm.embedding.table import choose_runtime
    from ckllm.reader.adapter import BASE

    wanted = settings.retrieval.reader
    fits = settings.embedding.model == BASE and choose_runtime(settings.embedding) == "openvino"
    if wanted == "off" or (wanted == "auto" and not fits):
        return None
    from ckllm.reader.openvino_reader import OpenVinoReader

    return OpenVinoReader(settings.models_folder, threads=settings.embedding.threads)


def _reranker(scorer: SentenceScorer, reader: Reader | None) -> Reranker:
    from ckllm.retrieval.rerank import BestSentenceReranker, ReadingReranker

    return ReadingReranker(reader, RERANK_DEPTH) if reader else BestSentenceReranker(scorer, RERANK_DEPTH)


def _answering(settings: Settings, scorer: SentenceScorer, embedder: Embedder, reader: Reader | None) -> Answering:
    from ckllm.answering import Answering, Budget
    from ckllm.citations.refusal import RefusalPolicy
    from ckllm.citations.verification import TrainedVerifier
    from ckllm.weighing import CosineWeigher, ReadingWeigher

    budget = Budget(settings.retrieval.evidence_tokens, settings.answer.max_tokens, settings.retrieval.evidence_sentences)
    weigher = ReadingWeigher(scorer, reader) if reader else CosineWeigher(scorer)
    return Answering(weigher, RefusalPolicy(embedder, settings.answer.caution), TrainedVerifier(), budget)


def open_router(settings: Settings) -> Router:
    """The router that `ask` uses, by itself: routing needs no documents, only the embedder if one is trained."""
    from ckllm.experts.table import open_router as open_described

    return open_described(settings, Lazy(lambda: _open_embedder(settings)))


def _router(settings: Settings, embedder: Callable[[], Embedder]) -> Callable[[], Router]:
    from ckllm.experts.table import latest_router

    return latest_router(settings, embedder)


def _experts(settings: Settings) -> Callable[[], Registry]:
    from ckllm.experts.table import latest_registry

    return latest_registry(settings)


def _adapters(settings: Settings, registry: Callable[[], Registry], weights: Mapping[str, float]) -> dict[str, float]:
    from ckllm.experts.base import BASE
    from ckllm.experts.registry import adapter_weights
    from ckllm.llm.table import choose_engine

    if choose_engine(settings.llm)[0] == "openai":  # the server has the files, and knows them by name
        return {name: weight for name, weight in weights.items() if name != BASE}
    return adapter_weights(weights, registry())


def _languages(registry: Registry, weights: Mapping[str, float]) -> tuple[str, ...]:
    spoken = [set(registry.get(name).card.languages) if name in registry else set() for name in weights]
    return tuple(sorted(set.intersection(*spoken))) if spoken else ()


def train_router(
    settings: Settings, data: Path, progress: Callable[[str], None], strategy: str = "head", head: str = "logistic", seed: int = 0
) -> dict[str, Any]:
    """Train the router of this home from labelled questions; the report with its held-out figures."""
    from ckllm.experts.routers.training import read_router_rows
    from ckllm.experts.routers.training import train_router as train
    from ckllm.experts.table import router_folder

    rows, sha256 = read_router_rows(data)
    make_home(settings.home)
    folder = router_folder(settings)
    embedder = _open_embedder(settings)
    return train(rows, embedder, folder, strategy=strategy, head=head, data_sha256=sha256, seed=seed, progress=progress)


def _rewrite() -> Any:
    from ckllm.standalone import standalone_query

    return standalone_query


def _condition(where: Any) -> str:
    if not where:
        return ""
    from ckllm.store.filter import parse_where

    return parse_where(where)
