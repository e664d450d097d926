"""Start here: the plot of the read path.

`stream` names every stage in order: rewrite → route → retrieve → rerank → evidence → prompt → generate → check → compose. Each
stage is a call; how it works is in its own module. What stored rows answer exactly is computed, and no model is asked. Where the
draft does not hold, the ladder goes down: supported sentences → exact quotes of the best evidence → an honest refusal. `ask`
drains the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ckllm.asking import Asked, AskOptions, Draft, Found, checked_count, checked_question, refusal
from ckllm.citations.markers import DraftFilter
from ckllm.contracts import (
    OWNER,
    Access,
    Answer,
    DocumentRow,
    DocumentText,
    Done,
    Event,
    Hit,
    Retrieved,
    Route,
    Routed,
    SearchResult,
    Token,
    Verified,
)  # fmt: skip
from ckllm.experts.base import RouteRequest
from ckllm.stopwatch import Stopwatch
from ckllm.store.base import Filter, IndexDescription, VectorStore

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable

    from ckllm.citations.verification import Verifier
    from ckllm.config import Settings
    from ckllm.embedding.base import Embedder
    from ckllm.llm.base import BaseLLM
    from ckllm.parts import Parts
    from ckllm.records.answers import RowAnswer
    from ckllm.retrieval.rerank import Reranker
    from ckllm.store.catalogue import Catalogue

Where = str | Mapping[str, Any]
User = str | Access | None
"""A user's name, an access that an edge has already worked out, or None for the owner of an unshared knowledge base."""


class KnowledgeBase:
    """One collection of documents: search it, ask it. Opened with `ckllm.open`; use it as a context manager.

    Models and the store are opened when they are first needed. Safe to use from several threads.
    """

    def __init__(self, collection: str, settings: Settings, parts: Parts) -> None:
        self.collection = collection
        self.settings = settings
        self._parts = parts

    # ------------------------------------------------------------------------------------------------ the plot

    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """One cited, verified answer, or a refusal with its reason.

        Raises UsageError for an empty or endless question, an unknown expert or a bad condition, StoreError and UpstreamError
        where the store or a model does not serve.
        """
        for event in self.stream(question, **options):
            if isinstance(event, Done):
                return event.answer
        raise AssertionError("a stream ends with Done")

    def stream(self, question: str, **options: Unpack[AskOptions]) -> Generator[Event, None, None]:
        """The events of one answer: Retrieved, Routed, Token …, Verified, Done; closing the generator stops the model."""
        return self._answer(Asked(checked_question(question), **options), Stopwatch())

    def _answer(self, asked: Asked, clock: Stopwatch) -> Generator[Event, None, None]:
        with clock.stage("rewrite_s"):
            query = self._parts.rewrite(asked.question, asked.history)
        with clock.stage("route_s"):
            route = self._parts.router().route([RouteRequest(asked.question, asked.history, asked.expert, asked.top_experts)])[0]
        self._load_ahead(asked, query, route)
        found = self._find([query], asked.user, asked.where, clock, reranker=self._parts.evidence_reranker)[0]
        answering = self._parts.answering()
        with clock.stage("rerank_s"):
            evidence = answering.offered(found, asked.k or self.settings.retrieval.evidence)
        rows = self._rows(asked, found, clock)
        counted = answering.from_rows(rows, evidence, self.catalogue.boxes) if rows else None
        if counted:
            yield from (Retrieved(counted.evidence), Routed(route), Verified(counted.sentences, counted.citations))
            yield Done(counted.as_answer(asked, Draft(route, counted.evidence), clock.timings()))
            return
        with clock.stage("rerank_s"):
            weighed = answering.weighed(found, evidence)
            doubt = answering.doubt(found, weighed)
        if weighed is None or doubt:
            yield from (Retrieved(evidence), Routed(route), Done(refusal(asked, Draft(route, evidence), doubt, clock.timings())))
            return
        prompt = answering.prompt(self.llm, asked, weighed)
        yield from (Retrieved(prompt.evidence), Routed(route))
        draft = yield from self._generate(asked, Draft(route, prompt.evidence, prompt.messages), clock)
        with clock.stage("verify_s"):
            checked = answering.checked(asked, found, draft, self.catalogue.boxes, self._parts.languages(route.weights))
        if not checked.answer:
            yield Done(refusal(asked, draft, checked.reason, clock.timings()), draft.cut_off)
            return
        yield Verified(checked.sentences, checked.citations)
        yield Done(checked.as_answer(asked, draft, clock.timings()), draft.cut_off)

    def _load_ahead(self, asked: Asked, query: str, route: Route) -> None:
        """Begin to load, while the passages are searched, the models that will read them; not the language model, which takes
        longest, where stored rows may answer without it."""
        if not (query == asked.question and _may_be_rows(query)):
            self._parts.warm(route.weights)
        self._parts.reader.ahead()

    def _rows(self, asked: Asked, found: Found, clock: Stopwatch) -> RowAnswer | None:
        """What stored rows answer by themselves; a follow-up question, which says only a part, is left to the model."""
        if found.query != asked.question:
            return None
        from ckllm.records.answers import row_answer

        with clock.stage("rerank_s"):
            return row_answer(asked.question, found.hits, self.catalogue, self._access(asked.user), narrowed=bool(asked.where))

    def _generate(self, asked: Asked, draft: Draft, clock: Stopwatch) -> Generator[Event, None, Draft]:
        """Streams the model's words without its markers and gives back the draft as it was written."""
        shown, text = DraftFilter(), ""
        request = asked.generation(draft, self.settings.answer, self._parts.adapters(draft.route.weights))
        with clock.stage("generate_s"), self.llm.generate_stream(request) as stream:
            for piece in stream:
                clock.mark("first_token_s")
                text += piece
                if words := shown.feed(piece):
                    yield Token(words)
            if words := shown.close():
                yield Token(words)
            return draft.written(text, stream.usage, cut_off=stream.finish_reason == "length")

    # ------------------------------------------------------------------------------------------------ search

    def search(self, query: str, k: int | None = None, where: Where = "", user: User = None) -> list[Hit]:
        """The best `k` passages, best first. See `Hit` and `ckllm.retrieval.retriever` for what the score is."""
        return list(self.search_many([query], k, where, user)[0].hits)

    def search_many(
        self, queries: Sequence[str], k: int | None = None, where: Where = "", user: User = None
    ) -> list[SearchResult]:
        """One result a query, in order; the queries are embedded together. `seconds` is each one's share of the time."""
        wanted = self.settings.retrieval.k if k is None else checked_count(k)
        began = time.perf_counter()
        found = self._find([checked_question(query, "query") for query in queries], user, where, Stopwatch(), wanted)
        seconds = round((time.perf_counter() - began) / max(1, len(found)), 4)
        return [SearchResult(query, seconds, tuple(one.hits[:wanted])) for query, one in zip(queries, found, strict=True)]

    def _find(
        self, queries: Sequence[str], user: User, where: Where, clock: Stopwatch, k: int = 0,
        reranker: Callable[[], Reranker] | None = None,
    ) -> list[Found]:  # fmt: skip
        """Retrieve and rerank; nothing is found in a collection that nothing was ever ingested into."""
        with clock.stage("retrieve_s"):
            allowed = Filter(self._access(user), self._parts.condition(where), self.catalogue.hidden_versions(self.collection))
            if self._parts.index.absent():
                return [Found(query) for query in queries]
            self._parts.store.ahead()  # while the embedder opens
            retriever = self._parts.retriever()
            vectors = retriever.embed(queries)
            hits = retriever.retrieve(queries, vectors, max(self.settings.retrieval.candidates, k), allowed)
        with clock.stage("rerank_s"):
            ranked = (reranker or self._parts.reranker)().rerank(queries, vectors, hits)
        return [Found(query, vectors[n : n + 1], tuple(ranked[n])) for n, query in enumerate(queries)]

    # ------------------------------------------------------------------------------------------------ documents

    def documents(self, *, user: User = None, everywhere: bool = False, state: str | None = None) -> list[DocumentRow]:
        """Every live, pending and failed document that the user may see, of this collection or of all."""
        return self.catalogue.documents(None if everywhere else self.collection, self._access(user), state)

    def document_text(self, document_id: str, user: User = None) -> DocumentText:
        """The extracted text with its page map; UnknownDocumentError where the user may not see it."""
        return self.document_texts([document_id], user)[0]

    def document_texts(self, document_ids: Sequence[str], user: User = None) -> list[DocumentText]:
        return self.catalogue.document_text(document_ids, self._access(user))

    def _access(self, user: User) -> Access:
        if isinstance(user, Access):
            return user
        return OWNER if user is None else self._parts.access(user)

    # ------------------------------------------------------------------------------------------------ parts

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def catalogue(self) -> Catalogue:
        return self._parts.catalogue()

    @property
    def store(self) -> VectorStore:
        return self._parts.store()

    @property
    def embedder(self) -> Embedder:
        """The embedder of the settings. StoreError where the collection was made with another one."""
        return self._parts.embedder()

    @property
    def index(self) -> IndexDescription:
        """The collection's index; made now where there is none yet. StoreError where it was made with another embedder."""
        return self._parts.index.opened()

    @property
    def llm(self) -> BaseLLM:
        return self._parts.llm()

    @property
    def verifier(self) -> Verifier:
        """What judges the sentences of a draft."""
        return self._parts.answering().verifier

    # ------------------------------------------------------------------------------------------------ LangChain

    def as_langchain_retriever(self, k: int | None = None, where: Where = "", user: User = None) -> BaseRetriever:
        """This knowledge base as a LangChain retriever."""
        from ckllm.langchain import retriever

        return retriever(self, k, where, user)

    def as_runnable(self, **options: Unpack[AskOptions]) -> Runnable[str, Answer]:
        """Questions in, `Answer` out, as a LangChain runnable."""
        from ckllm.langchain import runnable

        return runnable(self, options)

    # ------------------------------------------------------------------------------------------------ end

    def release_store(self) -> None:
        """Let others have the embedded store, which one process at a time can open; the next use opens it again."""
        self._parts.release_store()

    def close(self) -> None:
        """Free models, store and catalogue. May be called more than once."""
        self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _may_be_rows(question: str) -> bool:
    """Whether the question asks for what rows may answer by themselves."""
    from ckllm.records.question import recognised

    return recognised(question) is not None
