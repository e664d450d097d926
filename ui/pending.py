"""An answer that is being written: read in a thread of its own, so that no click on the page interrupts or repeats it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from ckllm.contracts import Answer, Done, Event, Retrieved, Route, Routed, Token
from ckllm.errors import CkllmError

_STEPS = ("Searching the documents", "Choosing an expert", "Reading {count} passages", "Writing")


class Pending:
    """Started once; the page looks at it as often as it likes."""

    def __init__(self, events: Callable[[], Iterator[Event]]) -> None:
        self._events = events
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self.draft = ""
        """Unverified words so far."""
        self.passages = 0
        self.route: Route | None = None
        self.answer: Answer | None = None
        self.error: CkllmError | None = None
        threading.Thread(target=self._run, name="answer", daemon=True).start()

    @property
    def finished(self) -> bool:
        """Answered, failed or stopped."""
        return self._finished.is_set() or self._stopped.is_set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set() and self.answer is None

    def stop(self) -> None:
        """The model is told at its next word; nobody waits for that."""
        self._stopped.set()

    def wait(self, seconds: float) -> None:
        self._finished.wait(seconds)

    def step(self) -> str:
        """What is being done, for people."""
        if self.draft:
            return _STEPS[3]
        if self.route is not None:
            return _STEPS[2].format(count=self.passages) if self.passages else _STEPS[3]
        return _STEPS[1] if self.passages else _STEPS[0]

    def _run(self) -> None:
        try:
            with closing(_generator(self._events())) as events:
                for event in events:
                    if self._stopped.is_set():
                        return
                    self._take(event)
        except CkllmError as error:
            self.error = error
        finally:
            self._finished.set()

    def _take(self, event: Event) -> None:
        if isinstance(event, Retrieved):
            self.passages = len(event.evidence)
        elif isinstance(event, Routed):
            self.route = event.route
        elif isinstance(event, Token):
            self.draft += event.text
        elif isinstance(event, Done):
            self.answer = event.answer


def _generator(events: Iterator[Event]) -> Generator[Event, None, None]:
    """Any iterator as something that can be closed, which closes the request behind it."""
    if isinstance(events, Generator):
        yield from events
    else:
        yield from iter(events)
