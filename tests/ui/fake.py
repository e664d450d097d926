"""A client without a service: the same methods, answers from memory, and a note of what was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from ckllm.client import AskFields, Client, RefusedError, UnavailableError, Upload
from ckllm.contracts import (
    Answer,
    Box,
    ChunkSpan,
    Citation,
    DocumentRow,
    DocumentText,
    Done,
    Event,
    Evidence,
    Hit,
    PageSpan,
    Retrieved,
    Route,
    Routed,
    SearchResult,
    Sentence,
    Timings,
    Token,
    Usage,
    Verified,
)
from ckllm.errors import UnknownDocumentError
from ckllm.service.nouns import CollectionSummary, Conversation, ConversationTurn, ExpertSummary, Job, JobState, Me, TrainingRun

TEXT = "The mill was built in 1802. <b>Nobody</b> lives there now. The river runs past it."
QUOTE = "The mill was built in 1802."
PICTURE = b"\x89PNG\r\n\x1a\nnot really"
OWNER = Me("", (), ("read", "write", "admin"))
READER = Me("ana", ("press",), ("read",))


def hit(**changes: Any) -> Hit:
    values: dict[str, Any] = {
        "rank": 1, "score": 1.25, "text": TEXT, "source": "/docs/mill.pdf", "title": "The <i>mill</i>", "page": 2,
        "section": "The <i>mill</i> › History", "start": 0, "end": len(TEXT), "document_id": "d1", "chunk_id": "c1",
        "found_by": ("dense",),
    }  # fmt: skip
    return Hit(**{**values, **changes})


def answer(question: str, expert: str = "qa", **changes: Any) -> Answer:
    said = QUOTE
    citation = Citation(
        1, "/docs/mill.pdf", "The <i>mill</i>", 2, "The <i>mill</i> › History", 0, len(QUOTE), QUOTE, "d1", "c1",
        (Box(2, 50.0, 100.0, 250.0, 120.0),),
    )  # fmt: skip
    values: dict[str, Any] = {
        "question": question, "answer": f"{said} [1]", "short_answer": "1802", "refused": False,
        "sentences": (Sentence(said, 0, len(said), True, 0.97, (1,)),), "citations": (citation,),
        "route": Route(expert, 0.8, {"qa": 0.8, "base": 0.2}, {expert: 1.0}, "head", "the scores decide"),
        "evidence": (Evidence(1, hit(), in_prompt=True, cited=True), Evidence(2, hit(chunk_id="c2"), in_prompt=False)),
        "usage": Usage(300, 12), "timings": Timings(retrieve_s=0.1, generate_s=1.2, total_s=1.4, first_token_s=0.4),
    }  # fmt: skip
    return Answer(**{**values, **changes})


def refusal(question: str) -> Answer:
    nothing: dict[str, Any] = {"sentences": (), "citations": (), "short_answer": None}
    reason = "the documents found speak of other things"
    evidence = (Evidence(1, hit(), in_prompt=True),)
    return answer(question, refused=True, reason=reason, answer="I cannot answer that.", evidence=evidence, **nothing)


class FakeClient(Client):
    """`calls` notes every method that changes or computes something, with its arguments."""

    def __init__(self, me: Me | None = OWNER) -> None:
        super().__init__("http://127.0.0.1:1")
        self.calls: list[tuple[Any, ...]] = []
        self.who = me
        self.gone = self.locked = False
        self.failure: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.rows = [
            DocumentRow("d1", "/docs/mill.pdf", "The <i>mill</i>", "LIVE", 3, 2, "en", (), "main"),
            DocumentRow("d2", "/docs/broken.pdf", "", "FAILED", 0, 0, "", (), "main", "needs a <password>"),
        ]
        self.names = ["ckllm", "base", "qa"]
        self.running: list[Job] = []
        self.kept: dict[str, list[ConversationTurn]] = {}
        self.trained: dict[str, Any] | None = None
        self.run: TrainingRun | None = None

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def _there(self) -> None:
        if self.gone:
            raise UnavailableError("the service at http://127.0.0.1:1 does not answer")
        if self.locked:
            raise RefusedError("this API key opens nothing", 401, "invalid_key")

    def health(self) -> dict[str, Any]:
        self._there()
        return {"status": "ok"}

    def me(self) -> Me:
        self._there()
        if self.who is None:
            raise RefusedError("an API key is needed", 401, "missing_key")
        return self.who

    def models(self) -> list[str]:
        return list(self.names)

    def search(
        self, query: str, k: int | None = None, collection: str = "main", where: str | Mapping[str, Any] = ""
    ) -> SearchResult:
        self.calls.append(("search", query))
        return SearchResult(query, 0.01, (hit(),))

    def stream(self, question: str, **fields: Unpack[AskFields]) -> Iterator[Event]:
        self.calls.append(("stream", question, fields.get("model"), fields.get("conversation")))
        if self.failure is not None:
            raise self.failure
        done = refusal(question) if "unknown" in question else answer(question, str(fields.get("model")))
        yield Retrieved(done.evidence)
        yield Routed(done.route)
        yield Token("The mill <script>")
        self.hold.wait(10)
        yield Verified(done.sentences, done.citations)
        conversation = fields.get("conversation")
        if conversation:
            self.kept[conversation].append(ConversationTurn(question, done, 1.0))
        yield Done(done)

    def documents(self, collection: str | None = None, state: str | None = None) -> list[DocumentRow]:
        self._there()
        return list(self.rows)

    def document_text(self, document_id: str) -> DocumentText:
        self.calls.append(("document_text", document_id))
        if document_id != "d1":
            raise UnknownDocumentError("no document")
        pages = (PageSpan(1, 0, 0, 500.0, 800.0), PageSpan(2, 0, len(TEXT), 500.0, 800.0))
        return DocumentText("d1", "/docs/mill.pdf", "The <i>mill</i>", TEXT, pages, (ChunkSpan("c1", 0, len(TEXT)),))

    def document_page(self, document_id: str, page: int, scale: float = 2.0) -> bytes:
        self.calls.append(("document_page", document_id, page))
        return PICTURE

    def remove(self, document_id: str) -> None:
        self.calls.append(("remove", document_id))
        self.rows = [row for row in self.rows if row.id != document_id]

    def upload(self, files: Sequence[Upload], collection: str = "main", groups: Sequence[str] = ()) -> Job:
        names = tuple(str(file[0]) for file in files if isinstance(file, tuple))
        self.calls.append(("upload", names, collection, tuple(groups)))
        return self._job(names)

    def ingest_urls(self, urls: Sequence[str], collection: str = "main", groups: Sequence[str] = ()) -> Job:
        self.calls.append(("ingest_urls", tuple(urls), collection, tuple(groups)))
        return self._job(tuple(urls))

    def _job(self, names: tuple[str, ...]) -> Job:
        self.running.insert(0, Job(f"j{len(self.running)}", JobState.QUEUED, "", "main", (), names, 1.0))
        return self.running[0]

    def jobs(self) -> list[Job]:
        return list(self.running)

    def retry_job(self, job_id: str) -> Job:
        self.calls.append(("retry_job", job_id))
        return self._job(("again.pdf",))

    def collections(self) -> list[CollectionSummary]:
        self._there()
        return [CollectionSummary(name, 2, 3, "hashing", 8) for name in ("main", "other")]

    def experts(self) -> list[ExpertSummary]:
        scores = {
            "rows": 200, "expert": {"f1": 0.79, "loss": 0.4}, "base": {"f1": 0.12, "loss": 2.0},
            "gain_f1": {"mean": 0.67, "low": 0.6, "high": 0.74},
        }  # fmt: skip
        return [
            ExpertSummary("base", "the base model, as it is", "m", "base"),
            ExpertSummary("qa", "answers <b>questions</b>", "m", "shipped", ("en",), "Apache-2.0", scores),
        ]

    def router(self) -> dict[str, Any] | None:
        return self.trained

    def training(self) -> TrainingRun | None:
        return self.run

    def train(self, name: str, *, collection: str | None = None, rows: str | None = None, description: str = "") -> TrainingRun:
        self.calls.append(("train", name, collection, rows, description))
        self.run = TrainingRun(name, JobState.RUNNING, 1.0)
        return self.run

    def stop_training(self) -> TrainingRun | None:
        self.calls.append(("stop_training",))
        assert self.run is not None
        self.run = replace(self.run, state=JobState.CANCELLED)
        return self.run

    def conversations(self) -> list[Conversation]:
        self._there()
        return [Conversation(one, f"About {one}", "main", 1.0, 2.0) for one in self.kept]

    def conversation(self, conversation_id: str) -> Conversation:
        if self.failure is not None:
            raise self.failure
        if conversation_id not in self.kept:
            raise RefusedError("there is no conversation of that id", 404, "unknown_conversation")
        return Conversation(conversation_id, "About", "main", 1.0, 2.0, tuple(self.kept[conversation_id]))

    def create_conversation(self, title: str = "", collection: str = "main") -> Conversation:
        self._there()
        new = f"k{len(self.kept)}"
        self.kept[new] = []
        return Conversation(new, title, collection, 1.0, 1.0)

    def rename_conversation(self, conversation_id: str, title: str) -> Conversation:
        self.calls.append(("rename", conversation_id, title))
        return Conversation(conversation_id, title, "main", 1.0, 1.0)

    def delete_conversation(self, conversation_id: str) -> None:
        self.calls.append(("delete", conversation_id))
        del self.kept[conversation_id]

    def shorten_conversation(self, conversation_id: str, keep: int) -> None:
        self._there()
        self.calls.append(("shorten", conversation_id, keep))
        del self.kept[conversation_id][keep:]

    def feedback(self, answer: Answer, rating: int, comment: str = "", correction: str = "") -> str:
        self.calls.append(("feedback", answer.question, rating))
        return "f1"

    def feedback_given(self) -> list[dict[str, Any]]:
        said = {"question": "When was it <u>built</u>?", "answer": "1802 [1]"}
        return [{"id": "f1", "user": "ana", "created": 1.0, "rating": -1, "comment": "<i>wrong</i>", "answer": said}]

    def metrics(self) -> str:
        return (
            "# TYPE ckllm_answers counter\n"
            'ckllm_answers_total{outcome="generated"} 6.0\nckllm_answers_total{outcome="refused"} 2.0\n'
            "# TYPE ckllm_stage_seconds histogram\n"
            'ckllm_stage_seconds_sum{stage="total"} 12.0\nckllm_stage_seconds_count{stage="total"} 8.0\n'
        )

    def evaluations(self) -> list[dict[str, Any]]:
        about = {"dataset": "trial", "questions": 40, "llm": "m", "created": "2026-11-22T05:00:00Z"}
        return [{"id": "r1", "about": about, "metrics": {"f1": 0.61}, "counts": {"f1": 40}, "risk_coverage": [[0.5, 0.1]]}]
