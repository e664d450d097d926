"""Searching and asking through the service that runs for this home: its models are loaded already."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ckllm.client import AskFields, Client, RefusedError, UnavailableError
from ckllm.contracts import Answer, Done, Event, SearchResult
from ckllm.errors import StoreError, UpstreamError, UsageError
from ckllm.service.nouns import STORE_FAILS

if TYPE_CHECKING:
    from ckllm.asking import AskOptions
    from ckllm.presence import Presence


class RemoteBase:
    """What `ckllm search`, `ask` and `chat` use of a knowledge base, served by a process that has it open."""

    def __init__(self, service: Presence, collection: str) -> None:
        self._service = service
        self._collection = collection

    def search_many(
        self, queries: Sequence[str], k: int | None = None, where: str | Mapping[str, Any] = "", user: str | None = None
    ) -> list[SearchResult]:
        with _translated(), self._client(user) as client:
            return [client.search(query, k, self._collection, where) for query in queries]

    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        with _translated(), self._client(options.get("user")) as client:
            return replace(client.ask(question, **self._fields(options)), id=None)

    def stream(self, question: str, **options: Unpack[AskOptions]) -> Generator[Event, None, None]:
        with _translated(), self._client(options.get("user")) as client:
            for event in client.stream(question, **self._fields(options)):
                yield replace(event, answer=replace(event.answer, id=None)) if isinstance(event, Done) else event

    def _client(self, user: object) -> Client:
        return Client(self._service.address, self._service.token, as_user=user if isinstance(user, str) else None)

    def _fields(self, options: AskOptions) -> AskFields:
        expert = options.get("expert", "auto")
        return {
            "model": "ckllm" if expert == "auto" else expert,
            "collection": self._collection,
            "history": options.get("history", ()),
            "k": options.get("k"),
            "top_experts": options.get("top_experts", 1),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return


@contextmanager
def _translated() -> Iterator[None]:
    """The service's refusals as the errors that the same call has here, so that a command ends with the same exit code."""
    try:
        yield
    except RefusedError as error:
        raise (UpstreamError if error.status == 429 else UsageError)(str(error)) from None
    except UnavailableError as error:
        unusable = error.status == 0 or error.code == STORE_FAILS
        raise (StoreError if unusable else UpstreamError)(str(error)) from None
