"""A language model that says what it is told: for tests, and for trying the service without a model."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ckllm.contracts import Message
from ckllm.errors import UpstreamError
from ckllm.llm.base import BaseLLM, GenerationRequest, Likelihood, Piece, Running

Script: TypeAlias = Iterable[str | Exception] | Callable[[Sequence[Message]], str]
"""Answers in turn (an exception is raised in its turn), or a function from the messages to the answer."""

_TOKEN = re.compile(r"\s*[^\s.,;:!?()\[\]]+|\s*\S|\s+")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and how slowly it goes."""

    delay_s: float = 0.0
    """Before every token."""
    fail_after: int | None = None
    """UpstreamError after so many tokens of every answer."""


class ScriptedLLM(BaseLLM):
    """Answers from a queue, or from a function of the messages. A token is a word or a mark, with the white space before it.

    `requests` holds what was asked, oldest first; `active` the number of generations under way.
    """

    engine = "scripted"

    def __init__(self, script: Script = (), *, fault: Fault | None = None, context_length: int = 8192, **parameters: Any) -> None:
        super().__init__("scripted", **parameters)
        self._answer = script if callable(script) else None
        self._queue: deque[str | Exception] = deque() if callable(script) else deque(script)
        self._fault = fault or Fault()
        self._context = context_length
        self.requests: list[GenerationRequest] = []
        self.active = 0

    @property
    def context_length(self) -> int:
        return self._context

    def _num_tokens(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def _count(self, request: GenerationRequest) -> int:
        if request.prompt is not None:
            return self._num_tokens(request.prompt)
        return sum(self._num_tokens(message.content) + 3 for message in request.messages) + 1

    def _generate(self, request: GenerationRequest, cancel: threading.Event) -> Running:
        count = self._count(request)
        self._check_context(count, request.max_tokens)
        with self._guard:
            self.requests.append(request)
        return Running(count, self._pieces(self._next(request), request.max_tokens, cancel))

    def _next(self, request: GenerationRequest) -> str:
        messages = request.messages or (Message("user", request.prompt or ""),)
        if self._answer is not None:
            return self._answer(messages)
        with self._guard:
            if not self._queue:
                raise UpstreamError("the scripted model has no answer left: queue more")
            answer = self._queue.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _pieces(self, answer: str, max_tokens: int, cancel: threading.Event) -> Iterator[Piece]:
        with self._guard:
            self.active += 1
        try:
            tokens = _TOKEN.findall(answer)
            for number, token in enumerate(tokens):
                if self._fault.delay_s:
                    cancel.wait(self._fault.delay_s)
                if cancel.is_set():
                    yield Piece("", 0, "cancelled")
                    return
                if number == self._fault.fail_after:
                    raise UpstreamError(f"the scripted model was told to fail after {number} tokens")
                if number == max_tokens:
                    yield Piece("", 0, "length")
                    return
                yield Piece(token)
            yield Piece("", 0, "stop")
        finally:
            with self._guard:
                self.active -= 1

    def _loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """Minus one for every token of the continuation that the prompt does not hold."""
        known = set(_TOKEN.findall(prompt.replace(" ", "\n")))
        known |= {token.strip() for token in known}
        return [
            Likelihood(-float(sum(token.strip() not in known for token in tokens)), max(1, len(tokens)))
            for tokens in (_TOKEN.findall(text) for text in continuations)
        ]
