"""What the service works with: one store, one embedder, one language model for all collections, and threads to use them in."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ckllm.assembly import Replacements, open_keys, open_knowledge_base, share
from ckllm.contracts import Access, Event, Route
from ckllm.errors import CkllmError, UsageError
from ckllm.experts.base import RouteRequest
from ckllm.experts.routers.explicit import AUTO
from ckllm.experts.table import latest_registry, latest_router
from ckllm.mapped import release
from ckllm.parts import Lazy, close_all
from ckllm.service.audit import Audit, AuditLog
from ckllm.service.caller import Caller
from ckllm.service.conversations import Conversations
from ckllm.service.errors import HttpError
from ckllm.service.feedback import Feedback
from ckllm.service.jobs import Jobs
from ckllm.service.logs import log
from ckllm.service.lookup import Lookup
from ckllm.service.metrics import Metrics
from ckllm.service.pump import pumped
from ckllm.service.turns import Turns
from ckllm.service.uploads import Uploads
from ckllm.service.worker import Worker
from ckllm.stopwatch import told

if TYPE_CHECKING:
    from ckllm.asking import AskOptions
    from ckllm.config import Settings
    from ckllm.knowledge_base import KnowledgeBase
    from ckllm.llm.base import BaseLLM

P = ParamSpec("P")
R = TypeVar("R")

JOB_END_S = 3.0
ROUTED, BASE = "ckllm", "base"
"""Names of models that are no experts: routed by the question, and the base model as it is."""


class Core:
    """Opened once a process. Blocking calls go through `read`, `work` or `stream`, never through the event loop."""

    def __init__(self, settings: Settings, replacements: Replacements | None = None) -> None:
        self.settings = settings
        given = replacements or Replacements(llm=_own_process(settings))
        self._common = share(settings, given)
        self._given = replace(given, common=self._common)
        self.keys = Lazy(lambda: open_keys(settings))
        self.lookup = Lazy(lambda: Lookup(settings.catalogue_url))
        self.jobs = Lazy(lambda: Jobs(settings.catalogue_url))
        self.conversations = Lazy(lambda: Conversations(settings.catalogue_url))
        self.feedback = Lazy(lambda: Feedback(settings.catalogue_url))
        self.audit_log = Lazy(lambda: AuditLog(settings.catalogue_url))
        self.audit = Audit(self.audit_log)
        self.uploads = Uploads(settings.home)
        self.worker = Worker(self.jobs, self.base)
        self._bases: dict[str, KnowledgeBase] = {}
        self.registry = latest_registry(settings)
        self.router = latest_router(settings, self._common.embedder)
        self._guard = threading.Lock()
        limits = settings.service
        self._searching = ThreadPoolExecutor(limits.search_threads, "search")
        self._writing = ThreadPoolExecutor(limits.generations, "answer")
        self._working = ThreadPoolExecutor(8, "work")
        self._admitting = ThreadPoolExecutor(4, "doors")
        self.turns = Turns(limits.generations, limits.queue, limits.queue_per_user, limits.queue_timeout_s)
        self.searches = Turns(
            limits.search_threads, limits.search_queue, limits.search_queue_per_user, limits.queue_timeout_s, "searches"
        )
        self.metrics = Metrics(
            lambda: self.turns.waiting, lambda: self.turns.taken, lambda: self.searches.waiting, self._open_jobs
        )
        self.warm = False
        self.trouble = ""
        """Why the service is not ready, where something cannot be opened."""

    # -- what there is

    def base(self, collection: str = "main") -> KnowledgeBase:
        """A collection; nothing is opened and nothing is checked yet."""
        with self._guard:
            if collection not in self._bases:
                self._bases[collection] = open_knowledge_base(
                    collection=collection, settings=self.settings, replacements=self._given
                )
            return self._bases[collection]

    def visible(self, collection: str, caller: Caller) -> KnowledgeBase:
        """A collection that the caller may search. HttpError 404 where there is none, or nothing in it for the caller: the two
        cannot be told apart."""
        if collection != "main" and collection not in self.collections(caller):
            raise HttpError(404, "unknown_collection", f"there is no collection {collection!r}", "collection")
        return self.base(collection)

    def collections(self, caller: Caller) -> list[str]:
        """Names of the collections that hold something for the caller; all of them for an administrator."""
        if caller.trusted:
            return [row.name for row in self._common.catalogue().collections()]
        return self.lookup().collections(caller.access)

    def models(self) -> list[str]:
        """Names that `model` may be."""
        return list(dict.fromkeys((ROUTED, BASE, *self.registry().names)))

    def expert_of(self, model: str) -> str:
        """What `AskOptions.expert` is for a model's name. HttpError 404 for an unknown one."""
        if model == ROUTED:
            return AUTO
        try:
            if model == AUTO:
                raise UsageError("auto is the name ckllm here")
            self.router().route([RouteRequest("", expert=model)])
        except UsageError:
            message = f"there is no model {model[:80]!r}: GET /v1/models lists them"
            raise HttpError(404, "unknown_model", message, "model") from None
        return model

    def route(self, question: str) -> Route:
        return self.router().route([RouteRequest(question)])[0]

    def seen(self, document_ids: set[str], access: Access) -> set[str]:
        """Those of the documents that may be seen; the owner sees even what was removed since."""
        return document_ids if access.everything else self.lookup().among(document_ids, access)

    def _open_jobs(self) -> int:
        return self.jobs().waiting()

    # -- threads

    async def read(self, caller: Caller, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A search, when it is the caller's turn, in one of the threads for searches: generation and ingestion do not hold it up.

        Who stops waiting for it gives up the place in the queue, or else the turn when the thread is done.
        """
        await self.searches.take(caller.queues_as)
        searching = asyncio.ensure_future(_in(self._searching, call, *args, **kwargs))
        searching.add_done_callback(self._searched)
        return await asyncio.shield(searching)

    def _searched(self, searching: asyncio.Future[Any]) -> None:
        self.searches.give_back()
        if not searching.cancelled():
            searching.exception()  # looked at, where nobody waits for it any more

    async def admit(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Finding out who calls, in threads that nothing else holds up."""
        return await _in(self._admitting, call, *args, **kwargs)

    async def work(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Any other blocking call."""
        return await _in(self._working, call, *args, **kwargs)

    async def stream(
        self, caller: Caller, base: KnowledgeBase, question: str, options: AskOptions
    ) -> AsyncGenerator[Event | None, None]:
        """The events of one answer, when it is the caller's turn; None in long pauses."""
        with told("queue"):
            await self.turns.take(caller.queues_as)
        events = pumped(lambda: base.stream(question, **options), self._writing, self._answered)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def _answered(self) -> None:
        self.turns.give_back()
        with contextlib.suppress(RuntimeError):  # the service ends
            self._working.submit(release, self.settings.models_folder)

    # -- life

    def open(self) -> None:
        """Open the store, so that nothing else does; StoreError where that cannot be done."""
        self._common.catalogue()
        self._common.store()
        for database in (self.lookup, self.jobs, self.conversations, self.feedback, self.audit_log):
            database()  # to open one waits for its turn to write, which no request should do on the event loop

    def warm_up(self) -> None:
        """Load the models. What fails is told by /ready and tried again when it is needed."""
        try:
            self._common.embedder().embed(["ready"], "query")
            assert self._common.llm().context_length >= 0, "asked for so that a model in a process of its own is loaded"
            self.warm, self.trouble = True, ""
        except Exception as error:  # noqa: BLE001 - the service stays up for what works without it
            self.trouble = str(error)
            log.warning(
                "not ready", extra={"fields": {"reason": str(error) if isinstance(error, CkllmError) else type(error).__name__}}
            )

    def rehearse(self) -> None:
        """Answer a question that nobody asked, so that the first one does not wait for what is computed only once."""
        if self.warm:
            with contextlib.suppress(CkllmError):
                self.base().ask("What is written here?", max_tokens=1)
            release(self.settings.models_folder)

    @property
    def store_socket(self) -> str:
        """Where other processes reach the embedded store; "" where it is a server that they reach themselves."""
        return str(getattr(self._common.store(), "socket", ""))

    def close(self) -> None:
        """End what is under way. A job that does not end in time holds the store, which then stays open to the end."""
        ended = self.worker.stop(JOB_END_S)
        for threads in (self._searching, self._writing, self._working, self._admitting):
            threads.shutdown(wait=False, cancel_futures=True)
        self.audit.close()
        close_all(self.keys, self.lookup, self.jobs, self.conversations, self.feedback, self.audit_log)
        if ended:
            self._common.close()


def _own_process(settings: Settings) -> BaseLLM | None:
    """A model that computes on this machine, in a process of its own; None: as the settings say, in this one."""
    from ckllm.llm.table import choose_engine
    from ckllm.service.model_process import ModelProcess

    try:
        engine, _ = choose_engine(settings.llm)
    except CkllmError:
        return None  # told when the model is first needed
    local = engine in ("openvino", "transformers")
    return ModelProcess(settings.llm, settings.models_folder) if local else None


async def _in(threads: ThreadPoolExecutor, call: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    inside = functools.partial(contextvars.copy_context().run, functools.partial(call, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(threads, inside)
