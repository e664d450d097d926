"""What the service hands out besides the nouns of :mod:`ckllm.contracts`. Imports nothing heavy: the client uses it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ckllm.contracts import Answer, to_json

STORE_FAILS = "store_unavailable"
"""Code of a 503 where the knowledge base itself does not serve; `unavailable` is that of a model or another server."""


class JobState(StrEnum):
    """Life of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class FileState(StrEnum):
    """How far a file or page of a job is."""

    WAITING = "waiting"
    READING = "reading"
    OPENED = "opened"
    """An archive or a message, what is in it is documents of its own."""
    EMBEDDING = "embedding"
    WRITTEN = "written"
    """To be visible soon."""
    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file or page of a job; what is in an archive has a place of its own only where it was rejected."""

    name: str
    state: FileState
    reason: str = ""
    """Why it was rejected."""
    done: int = 0
    """Chunks written while it is being embedded."""
    of: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """An ingestion in the background."""

    id: str
    state: JobState
    user: str
    """Whose it is; "" the owner's."""
    collection: str
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    """Names of the uploaded files, or URLs."""
    created: float
    """Seconds since the epoch, as are the next two."""
    started: float | None = None
    finished: float | None = None
    found: int = 0
    """Documents to go through, as far as they are known."""
    done: int = 0
    rejected: int = 0
    chunks: int = 0
    current: str = ""
    """What was last worked on."""
    files: tuple[JobFile, ...] = ()
    """How far each one is; in a list of jobs only for those that wait or run."""
    report: Mapping[str, Any] | None = None
    """The JSON of `ingest`, with the rejections, once the job is done."""
    error: str | None = None
    """Why it failed."""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """A question and its answer. `answer` is None where the reader may no longer see a document that it rests on."""

    question: str
    answer: Answer | None
    created: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns are there only where one conversation was asked for by its id."""

    id: str
    title: str
    collection: str
    created: float
    updated: float
    turns: tuple[ConversationTurn, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Me:
    """Who the service takes the caller for."""

    user: str
    """"" for the owner of a service without keys."""
    groups: tuple[str, ...]
    rights: tuple[str, ...]

    @property
    def may_write(self) -> bool:
        return "write" in self.rights

    @property
    def may_administer(self) -> bool:
        return "admin" in self.rights


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    name: str
    documents: int
    chunks: int
    embedder: str
    dimension: int


@dataclass(frozen=True, slots=True)
class ExpertSummary:
    name: str
    description: str
    model: str
    origin: str
    """base, shipped, installed or configured."""
    languages: tuple[str, ...] = ()
    licence: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """An expert that is being trained, or was."""

    name: str
    state: JobState
    started: float
    """Seconds since the epoch."""
    step: int = 0
    steps: int = 0
    """The most there will be; 0 until it is known."""
    curve: tuple[tuple[int, float, float | None], ...] = ()
    """(step, training loss, validation loss where it was measured)."""
    seconds_left: float = 0.0
    doing: str = ""
    """What goes on beside steps."""
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)
