"""What one browser tab holds: who is signed in, the conversation on the screen, and the passage that stands open."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from ckllm.client import Client
from ckllm.contracts import Answer, DocumentRow
from ckllm.service.nouns import Me
from ui.pending import Pending
from ui.place import Place

T = TypeVar("T")
ROUTED = "ckllm"
"""The model's name for "choose the expert by the question"."""
STOPPED = "Stopped before the answer was checked."
NOBODY = Me("", (), ())
"""Before anybody has been let in."""
_numbers = itertools.count(1)


@dataclass
class Turn:
    """A question with whatever came of it: an answer, a failure, or nothing yet."""

    question: str
    model: str = ROUTED
    answer: Answer | None = None
    pending: Pending | None = None
    trouble: str = ""
    """Why there is no answer, in words."""
    rating: int = 0
    stored: bool = False
    """The service has it in the conversation."""
    key: str = field(default_factory=lambda: f"t{next(_numbers)}")

    def settle(self) -> None:
        """Take over what the thread has brought, once it is finished."""
        if self.pending is None or not self.pending.finished:
            return
        done, self.pending = self.pending, None
        self.answer, self.stored = done.answer, done.answer is not None
        if done.answer is None:
            self.trouble = str(done.error) if done.error is not None else STOPPED


@dataclass
class State:
    """Lives in `st.session_state`, in the memory of this process; nothing of it is written anywhere."""

    client: Client
    key: str = ""
    me: Me = NOBODY
    collection: str = "main"
    conversation: str = ""
    """Id at the service; "" before the first question."""
    looked: bool = False
    """Whether the page's address has been looked at for a conversation."""
    turns: list[Turn] = field(default_factory=list)
    opened: Place | None = None
    """Beside the conversation."""
    previewed: Place | None = None
    """Beside the list of documents."""
    trial: list[Turn] = field(default_factory=list)
    """One question to two experts."""
    compared: Place | None = None
    """Beside those two answers."""
    adding: bool = False
    uploads: int = 0
    """Counts the uploads: a new number gives empty fields."""
    put_away: set[str] = field(default_factory=set)
    """Finished jobs that need not be shown any more."""
    away: bool = False
    """The service did not answer in this run of the page, and that has been said."""
    models: list[str] = field(default_factory=list)
    """What an answer may be asked for again with."""
    fetched: dict[tuple[str, Place], Any] = field(default_factory=dict)
    """Texts and page pictures of the documents that stand open."""
    suggested: tuple[Sequence[DocumentRow], list[str]] = ((), [])
    """The documents that questions were suggested for, and the questions."""

    @property
    def signed_in(self) -> bool:
        return self.me is not NOBODY

    def start(self) -> None:
        """An empty conversation."""
        for turn in self.turns:
            if turn.pending is not None:
                turn.pending.stop()
        self.turns, self.conversation, self.opened = [], "", None

    def forget(self) -> None:
        """Everything that belongs to whoever was signed in."""
        self.start()
        self.fetched.clear()
        self.suggested = ((), [])
        self.key, self.me, self.collection, self.previewed = "", NOBODY, "main", None
        self.trial, self.compared = [], None
        self.client = Client(self.client.base_url)

    def once(self, what: str, place: Place, make: Callable[[], T]) -> T:
        """What `make` gives for a place that stands open, made only the first time."""
        if (what, place) not in self.fetched:
            self.fetched[what, place] = make()
        found: T = self.fetched[what, place]
        return found

    def forget_closed(self) -> None:
        """When it is opened again, a document may have another version, or may not be seen any more."""
        standing = (self.opened, self.previewed, self.compared)
        self.fetched = {key: found for key, found in self.fetched.items() if key[1] in standing}


def state() -> State:
    found = st.session_state["state"]
    assert isinstance(found, State)
    return found
