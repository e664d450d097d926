"""What every engine is asked, and what it gives back: `GenerationRequest` in, a `GenerationStream` of text out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ckllm.contracts import Message, Usage
from ckllm.llm.stopping import StopFilter

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]
"""The model ended or a stop string was found; `max_tokens` were made; the caller closed the stream."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt and how to continue it. Temperature 0 is greedy decoding."""

    messages: tuple[Message, ...] = ()
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    """Text that ends the answer; it is cut off, and found across token borders."""
    seed: int | None = None
    """None: a different sample each time."""
    seed_is_wish: bool = True
    """False where the seed was drawn, not asked for: an engine may then trade repeatability for running requests together."""
    adapters: Mapping[str, float] = field(default_factory=dict)
    """Folder (or, for a server, name) of each LoRA adapter → its weight; exactly this mixture, for this request alone."""
    prompt: str | None = None
    """Plain text to continue, in place of `messages`; no chat template."""
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the answer, beside the model's own end token."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What an engine gives for one or more generated tokens: whole characters, "" while a character is incomplete."""

    text: str
    tokens: int = 1
    finish_reason: FinishReason | None = None
    """Set on the last piece, where the engine knows it."""
    usage: Usage | None = None
    """True counts from a server; they replace what was counted here."""


@dataclass(frozen=True, slots=True)
class Running:
    """A generation that has begun: its prompt is rendered, counted and found to fit."""

    prompt_tokens: int
    pieces: Iterator[Piece]
    """Closing it (a generator's `close`) frees the model."""


class GenerationStream(Iterator[str]):
    """Text as it is made, in whole characters, stop strings cut off. Close it, exhaust it, or use it in a `with`.

    `usage` counts every token that the model made, its end token included. After the end, `finish_reason` is set; it stays
    None where an error was raised.
    """

    def __init__(
        self,
        running: Running,
        stop: tuple[str, ...],
        cancel: threading.Event,
        on_end: Callable[[GenerationStream], None] | None = None,
        started: float | None = None,
    ) -> None:
        self._pieces = running.pieces
        self._filter = StopFilter(stop)
        self._cancel = cancel
        self._on_end = on_end
        self._ended = False
        self._lock = threading.Lock()
        self.usage = Usage(prompt_tokens=running.prompt_tokens)
        self.finish_reason: FinishReason | None = None
        self.started = time.perf_counter() if started is None else started
        """Seconds on a monotonic clock."""
        self.first_token: float | None = None
        """When the first token was made, on the same clock."""
        self.ended: float | None = None

    def __iter__(self) -> GenerationStream:
        return self

    def __next__(self) -> str:
        while not self._ended:
            text = self._advance()
            if text:
                return text
        raise StopIteration

    def __enter__(self) -> GenerationStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def text(self) -> str:
        """All that is left, as one string."""
        return "".join(self)

    def close(self) -> None:
        """Cancel and free the model. May be called at any time, from any thread, more than once."""
        if not self._ended:
            self._cancel.set()
            self._finish("cancelled")

    def _advance(self) -> str:
        if self._cancel.is_set():
            self._finish("cancelled")
            return ""
        try:
            piece = next(self._pieces)
        except StopIteration:
            return self._end("cancelled" if self._cancel.is_set() else "stop")
        except BaseException:
            self._finish(None)
            raise
        self._count(piece)
        text = self._filter.feed(piece.text)
        if self._filter.found:
            self._finish("stop")
        elif piece.finish_reason is not None:
            text += self._end(piece.finish_reason)
        return text

    def _count(self, piece: Piece) -> None:
        if piece.usage is not None:
            self.usage = piece.usage
        else:
            self.usage = Usage(self.usage.prompt_tokens, self.usage.completion_tokens + piece.tokens)
        if self.first_token is None and piece.tokens:
            self.first_token = time.perf_counter()

    def _end(self, reason: FinishReason) -> str:
        rest = "" if reason == "cancelled" else self._filter.flush()
        self._finish(reason)
        return rest

    def _finish(self, reason: FinishReason | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self.finish_reason = reason
        self.ended = time.perf_counter()
        close = getattr(self._pieces, "close", None)
        if close is not None:
            self._release(close)
        if self._on_end is not None:
            self._on_end(self)

    def _release(self, close: Callable[[], None]) -> None:
        try:
            close()
        except ValueError:
            # Another thread is inside the generator. It sees the cancel event at its next token and frees the model itself.
            self._cancel.set()
