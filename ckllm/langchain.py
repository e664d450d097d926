"""A knowledge base as LangChain objects. `langchain-core` is imported only here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import ConfigDict

from ckllm.contracts import Access, Answer, Hit

if TYPE_CHECKING:
    from ckllm.asking import AskOptions


class Searched(Protocol):
    def search(
        self, query: str, k: int | None = None, where: str | Mapping[str, Any] = "", user: str | Access | None = None
    ) -> list[Hit]: ...


class Asked(Protocol):
    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer: ...


class KnowledgeBaseRetriever(BaseRetriever):
    """Passages as LangChain documents; `metadata` holds everything of the hit but its text."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    knowledge_base: Any
    k: int | None = None
    where: str | Mapping[str, Any] = ""
    user: str | Access | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002 - LangChain's signature
        return [_document(hit) for hit in self.knowledge_base.search(query, k=self.k, where=self.where, user=self.user)]


def _document(hit: Hit) -> Document:
    fields = hit.as_json()
    return Document(page_content=fields.pop("text"), metadata=fields, id=hit.chunk_id)


def retriever(kb: Searched, k: int | None, where: str | Mapping[str, Any], user: str | Access | None) -> KnowledgeBaseRetriever:
    return KnowledgeBaseRetriever(knowledge_base=kb, k=k, where=where, user=user)


def runnable(kb: Asked, options: AskOptions) -> Runnable[str, Answer]:
    """Question → `Answer`; `options` are those of `KnowledgeBase.ask`."""

    def ask(question: str) -> Answer:
        return kb.ask(question, **options)

    return RunnableLambda(ask, name="ckllm")
