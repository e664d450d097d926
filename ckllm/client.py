"""A client of `ckllm serve` that speaks in the nouns of :mod:`ckllm.contracts`. OpenAI's client works too, and knows less."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote

import httpx

from ckllm import from_json
from ckllm.contracts import (
    Answer,
    DocumentRow,
    DocumentText,
    Done,
    Event,
    Message,
    Retrieved,
    Route,
    Routed,
    SearchResult,
    Token,
    Verified,
)
from ckllm.errors import UnknownDocumentError, UpstreamError, UsageError
from ckllm.service.nouns import (
    CollectionSummary,
    Conversation,
    ConversationTurn,
    ExpertSummary,
    FileState,
    Job,
    JobFile,
    JobState,
    Me,
    TrainingRun,
)

Upload = Path | tuple[str, bytes]
"""A file, or a name with bytes."""


class RefusedError(UsageError):
    """The service refuses the request: `status` and `code` say why, the message in words."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class UnavailableError(UpstreamError):
    """The service is not reached, is not ready, or fails; `status` is 0 where nothing answered, `code` says what fails."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class AskFields(TypedDict, total=False):
    """What may go with a question; see the service's `/v1/chat/completions`."""

    model: str
    collection: str
    history: Sequence[Message]
    k: int | None
    where: str | Mapping[str, Any]
    top_experts: int
    experts: Sequence[str] | None
    only_base: bool
    max_tokens: int | None
    temperature: float | None
    conversation: str | None


class Client:
    """One service, as one user. Use it as a context manager. Safe to share between threads.

    Every method raises RefusedError (UnknownDocumentError for a document that is not there) or UnavailableError; a key that
    cannot be one is a UsageError at once.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        timeout_s: float = 300.0,
        *,
        as_user: str | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        """`as_user`: see and ask as that user; only the owner may. `more_headers`: those of a proxy that signed the user in."""
        if key and not (key.isascii() and key.isprintable()):
            raise UsageError("this is no API key: it holds characters that no key has")
        headers = {"User-Agent": "ckllm", **(more_headers or {})} | ({"Authorization": f"Bearer {key}"} if key else {})
        if as_user is not None:
            headers["X-Ckllm-As"] = quote(as_user, safe="")
        limits = httpx.Timeout(timeout_s, connect=5.0)
        self._http = httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=limits, trust_env=False)
        self.base_url = base_url.rstrip("/")

    # -- state

    def health(self) -> dict[str, Any]:
        """`{"status", "version"}` of a process that answers."""
        found: dict[str, Any] = self._get("/health")
        return found

    def ready(self) -> bool:
        """Whether the models are loaded; UnavailableError where nothing answers."""
        return self._send("GET", "/ready", accepted=(503,)).status_code == 200

    def me(self) -> Me:
        """Who the service takes the caller for."""
        row = self._get("/v1/me")
        return Me(row["user"], tuple(row["groups"]), tuple(row["rights"]))

    def metrics(self) -> str:
        """What Prometheus reads; for administrators."""
        return self._send("GET", "/metrics").text

    def evaluations(self) -> list[dict[str, Any]]:
        """Saved reports of `ckllm eval`, without their rows, the newest first; for administrators."""
        found: list[dict[str, Any]] = self._get("/v1/evaluations")["evaluations"]
        return found

    # -- search and answers

    def models(self) -> list[str]:
        return [row["id"] for row in self._get("/v1/models")["data"]]

    def search(
        self, query: str, k: int | None = None, collection: str = "main", where: str | Mapping[str, Any] = ""
    ) -> SearchResult:
        body = {"query": query, "k": k, "collection": collection, "where": where}
        return from_json.search_result(self._post("/v1/search", body))

    def ask(self, question: str, **fields: Unpack[AskFields]) -> Answer:
        return _answer(self._post("/v1/chat/completions", _chat(question, fields)))

    def stream(self, question: str, **fields: Unpack[AskFields]) -> Iterator[Event]:
        """Retrieved, Routed, Token (unverified words) …, Verified, Done. Closing the iterator stops the model."""
        body = _chat(question, fields) | {"stream": True, "draft": True}
        text = ""
        for chunk in self._events("POST", "/v1/chat/completions", body):
            if "error" in chunk:
                raise UnavailableError(chunk["error"]["message"], 500, str(chunk["error"]["code"]))
            choice = chunk["choices"][0] if chunk.get("choices") else {"delta": {}, "finish_reason": None}
            delta = choice["delta"]
            text += delta.get("content") or ""
            if choice["finish_reason"]:
                answer = from_json.answer({**chunk, "id": chunk["id"], "answer": text})
                if not answer.refused:
                    yield Verified(answer.sentences, answer.citations)
                yield Done(answer, choice["finish_reason"] == "length")
            elif "evidence" in chunk:
                yield Retrieved(tuple(from_json.evidence(row) for row in chunk["evidence"]))
            elif "route" in chunk:
                yield Routed(from_json.route(chunk["route"]))
            elif "draft" in delta:
                yield Token(delta["draft"])

    # -- documents

    def documents(self, collection: str | None = None, state: str | None = None) -> list[DocumentRow]:
        given = {key: value for key, value in (("collection", collection), ("state", state)) if value}
        return [from_json.document_row(row) for row in self._get("/v1/documents", given)["documents"]]

    def document(self, document_id: str) -> DocumentRow:
        return from_json.document_row(self._get(f"/v1/documents/{_part(document_id)}"))

    def document_text(self, document_id: str) -> DocumentText:
        return from_json.document_text(self._get(f"/v1/documents/{_part(document_id)}/text"))

    def document_page(self, document_id: str, page: int, scale: float = 2.0) -> bytes:
        """A page of a PDF as PNG, `scale` pixels a point; UnknownDocumentError where there is no picture of it."""
        path = f"/v1/documents/{_part(document_id)}/pages/{page}"
        return self._send("GET", path, params={"scale": str(scale)}).content

    def remove(self, document_id: str) -> None:
        self._send("DELETE", f"/v1/documents/{_part(document_id)}")

    # -- ingestion

    def upload(self, files: Sequence[Upload], collection: str = "main", groups: Sequence[str] = ()) -> Job:
        """Hand over files to be ingested in the background."""
        parts = [("files", (file.name, file.read_bytes()) if isinstance(file, Path) else (file[0], file[1])) for file in files]
        form = {"collection": collection, "groups": list(groups)}
        return _job(self._send("POST", "/v1/documents", files=parts, data=form).json()["job"])

    def ingest_urls(self, urls: Sequence[str], collection: str = "main", groups: Sequence[str] = ()) -> Job:
        return _job(self._post("/v1/documents", {"urls": list(urls), "collection": collection, "groups": list(groups)})["job"])

    def jobs(self) -> list[Job]:
        """The newest first."""
        return [_job(row) for row in self._get("/v1/jobs")["jobs"]]

    def job(self, job_id: str) -> Job:
        return _job(self._get(f"/v1/jobs/{_part(job_id)}")["job"])

    def job_events(self, job_id: str) -> Iterator[Job]:
        """The job whenever it has changed, until its state is final."""
        for row in self._events("GET", f"/v1/jobs/{_part(job_id)}/events"):
            yield _job(row)

    def cancel_job(self, job_id: str) -> Job:
        return _job(self._send("DELETE", f"/v1/jobs/{_part(job_id)}").json()["job"])

    def retry_job(self, job_id: str) -> Job:
        """A new job with the same sources."""
        return _job(self._post(f"/v1/jobs/{_part(job_id)}/retry", {})["job"])

    # -- collections and experts

    def collections(self) -> list[CollectionSummary]:
        return [CollectionSummary(**row) for row in self._get("/v1/collections")["collections"]]

    def experts(self) -> list[ExpertSummary]:
        rows = self._get("/v1/experts")["experts"]
        return [ExpertSummary(**{**row, "languages": tuple(row.get("languages", ()))}) for row in rows]

    def route(self, question: str) -> Route:
        return from_json.route(self._post("/v1/experts/route", {"question": question}))

    def router(self) -> dict[str, Any] | None:
        """Held-out figures of the trained router, with its confusion table; None where none is trained."""
        found: dict[str, Any] | None = self._get("/v1/router")["router"]
        return found

    def training(self) -> TrainingRun | None:
        """The training that is under way, or the last one; for administrators."""
        return _run(self._get("/v1/training")["run"])

    def train(self, name: str, *, collection: str | None = None, rows: str | None = None, description: str = "") -> TrainingRun:
        """Train an expert in the background, from a collection or from rows as JSON Lines; for administrators."""
        body = {"name": name, "collection": collection, "rows": rows, "description": description}
        started = _run(self._post("/v1/training", body)["run"])
        assert started is not None
        return started

    def stop_training(self) -> TrainingRun | None:
        return _run(self._send("DELETE", "/v1/training").json()["run"])

    # -- conversations and feedback

    def conversations(self) -> list[Conversation]:
        """The caller's own, the last used first, without their turns."""
        return [_conversation(row) for row in self._get("/v1/conversations")["conversations"]]

    def conversation(self, conversation_id: str) -> Conversation:
        """With its turns."""
        return _conversation(self._get(f"/v1/conversations/{_part(conversation_id)}"))

    def create_conversation(self, title: str = "", collection: str = "main") -> Conversation:
        return _conversation(self._post("/v1/conversations", {"title": title, "collection": collection}))

    def rename_conversation(self, conversation_id: str, title: str) -> Conversation:
        path = f"/v1/conversations/{_part(conversation_id)}"
        return _conversation(self._send("PATCH", path, json={"title": title}).json())

    def delete_conversation(self, conversation_id: str) -> None:
        self._send("DELETE", f"/v1/conversations/{_part(conversation_id)}")

    def shorten_conversation(self, conversation_id: str, keep: int) -> None:
        """Drop the turns after the first `keep`, to go on from there in another way."""
        self._send("DELETE", f"/v1/conversations/{_part(conversation_id)}/turns", params={"keep": str(keep)})

    def feedback(self, answer: Answer, rating: int, comment: str = "", correction: str = "") -> str:
        """`rating`: 1 good, -1 bad, 0 neither; the id of what was stored."""
        body = {"answer": answer.as_json(), "rating": rating, "comment": comment, "correction": correction}
        return str(self._post("/v1/feedback", body)["id"])

    def feedback_given(self) -> list[dict[str, Any]]:
        """What users thought of answers, the oldest first; for administrators."""
        lines = self._send("GET", "/v1/feedback/export").text.split("\n")
        return [json.loads(line) for line in lines if line.strip()]

    # -- inside

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        return self._send("GET", path, params=params).json()

    def _post(self, path: str, body: Any) -> Any:
        return self._send("POST", path, json=body).json()

    def _send(self, method: str, path: str, accepted: Sequence[int] = (), **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        if not response.is_success and response.status_code not in accepted:
            _refuse(response)
        return response

    def _events(self, method: str, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
        try:
            with self._http.stream(method, path, json=body) as response:
                if not response.is_success:
                    response.read()
                    _refuse(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        data = line[5:].strip()
                        if data == "[DONE]":
                            return
                        yield json.loads(data)
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    def _lost(self, error: httpx.HTTPError) -> UnavailableError:
        return UnavailableError(f"the service at {self.base_url} does not answer ({error or type(error).__name__})")


def _refuse(response: httpx.Response) -> None:
    try:
        error = response.json()["error"]
        message, code = str(error["message"]), str(error["code"])
    except (ValueError, KeyError, TypeError):
        message, code = f"the service answered {response.status_code}", ""
    if code == "unknown_document":
        raise UnknownDocumentError(message)
    if response.status_code >= 500:
        raise UnavailableError(message, response.status_code, code)
    raise RefusedError(message, response.status_code, code)


def _chat(question: str, fields: AskFields) -> dict[str, Any]:
    history = [{"role": turn.role, "content": turn.content} for turn in fields.get("history", ())]
    given = {key: value for key, value in fields.items() if key != "history" and value is not None}
    return {"model": "ckllm", **given, "messages": [*history, {"role": "user", "content": question}]}


def _answer(row: Mapping[str, Any]) -> Answer:
    return from_json.answer({**row, "answer": row["choices"][0]["message"]["content"]})


def _job(row: Mapping[str, Any]) -> Job:
    files = tuple(JobFile(**{**one, "state": FileState(one["state"])}) for one in row.get("files", ()))
    known = {"state": JobState(row["state"]), "groups": tuple(row["groups"]), "sources": tuple(row["sources"]), "files": files}
    return Job(**{**row, **known})


def _run(row: Mapping[str, Any] | None) -> TrainingRun | None:
    if row is None:
        return None
    return TrainingRun(**{**row, "state": JobState(row["state"]), "curve": tuple(tuple(point) for point in row["curve"])})


def _conversation(row: Mapping[str, Any]) -> Conversation:
    turns = tuple(
        ConversationTurn(turn["question"], from_json.answer(turn["answer"]) if turn["answer"] else None, turn["created"])
        for turn in row.get("turns", ())
    )
    return Conversation(row["id"], row["title"], row["collection"], row["created"], row["updated"], turns)


def _part(name: str) -> str:
    return quote(name, safe="")
