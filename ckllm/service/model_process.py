"""The language model in a process of its own.

Engines hold Python's lock while they compute a token: in the service's process everything else would wait for them, token by
token (two askers slowed ten searchers from 14 searches a second to one, `benchmarks/service.py`). Here the service asks, and a
child process computes. It ends when its parent does, whatever the reason, since its end of the pipe is then closed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ckllm.errors import CkllmError, DataError, UpstreamError, UsageError
from ckllm.llm.base import BaseLLM, GenerationRequest, Likelihood, Piece, Running
from ckllm.mapped import release

if TYPE_CHECKING:
    from ckllm.config import LlmSettings

OPEN_S, REPLY_S, END_S = 600.0, 120.0, 5.0
"""To load a model, which may be converted first; to answer a call; to stop a generation."""
STALL_S = 240.0
"""The longest silence between two tokens, and before the first."""
POLITENESS = 3
"""What is added to the child's nice value, so that searches go before tokens."""
_LOOK_S, _ORPHAN_S = 0.1, 0.5
_KINDS: Mapping[str, type[CkllmError]] = {kind.__name__: kind for kind in (UsageError, DataError, UpstreamError)}
_LOST = "the process of the language model has ended: ask again, it is started anew"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of the other side."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> Failed:
        kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), "UpstreamError")
        told = str(error) if isinstance(error, CkllmError) else f"the language model failed: {type(error).__name__}: {error}"
        return cls(kind, told)

    def error(self) -> CkllmError:
        return _KINDS[self.kind](self.message)


class _EndType:
    """A generation is over."""


_Reply: TypeAlias = Any
"""A value, a Piece, `Failed`, or `_EndType` where a generation is over."""


class ModelProcess(BaseLLM):
    """Any engine, in a child process that is started when it is first needed, and again where it has died or fallen silent."""

    engine = "process"

    def __init__(self, settings: LlmSettings, models_folder: Path) -> None:
        super().__init__(settings.model)
        self._settings, self._folder = settings, models_folder
        self._line: _Line | None = None
        self._starting = threading.Lock()
        self._context_length = 0

    @property
    def context_length(self) -> int:
        self._open()
        return self._context_length

    def _open(self) -> _Line:
        with self._starting:
            if self._line is None or self._line.lost:
                if self._line is not None:
                    self._line.close()
                line = _Line()
                try:
                    self._context_length = int(line.call("open", self._settings, self._folder, wait_s=OPEN_S))
                except BaseException:
                    line.close()
                    raise
                self._line = line
            return self._line

    def _count(self, request: GenerationRequest) -> int:
        return int(self._open().call("_count", request))

    def _num_tokens(self, text: str) -> int:
        return int(self._open().call("_num_tokens", text))

    def _loglikelihood(self, prompt: str, continuations: Any) -> list[Likelihood]:
        found: list[Likelihood] = self._open().call("_loglikelihood", prompt, list(continuations), wait_s=OPEN_S)
        return found

    def prepare(self, adapters: Mapping[str, float]) -> None:
        self._open().call("prepare", dict(adapters), wait_s=OPEN_S)

    def _generate(self, request: GenerationRequest, cancel: threading.Event) -> Running:
        line = self._open()
        number, replies = line.ask("generate", request)
        try:
            prompt_tokens = int(line.value(replies, REPLY_S))
        except BaseException:
            line.forget(number)
            raise
        return Running(prompt_tokens, self._pieces(line, number, replies, cancel))

    @staticmethod
    def _pieces(line: _Line, number: int, replies: queue.Queue[_Reply], cancel: threading.Event) -> Iterator[Piece]:
        ended, heard = False, time.monotonic()
        try:
            while not cancel.is_set():
                try:
                    reply = replies.get(timeout=_LOOK_S)
                except queue.Empty:
                    if time.monotonic() - heard > STALL_S:
                        line.give_up_after(STALL_S)
                        raise UpstreamError(f"the language model has said nothing for {STALL_S:g} s: ask again later") from None
                    continue
                heard = time.monotonic()
                ended = isinstance(reply, Failed | _EndType)
                if isinstance(reply, Failed):
                    raise reply.error()
                if ended:
                    return
                yield reply
        finally:
            if not ended:
                line.cancel(number, replies)
            line.forget(number)

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()


class _Line:
    """The pipe to one child: requests by number, replies handed to who waits for that number."""

    def __init__(self) -> None:
        here, there = Pipe()
        with there:
            command = [sys.executable, "-m", "ckllm.service.model_process", str(there.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=(there.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        self._pipe = here
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.Queue[_Reply]] = {}
        self._heard = time.monotonic()
        self.lost = False
        threading.Thread(target=self._listen, name="model-replies", daemon=True).start()

    def call(self, what: str, *arguments: Any, wait_s: float = REPLY_S) -> Any:
        """The value that the child returns, or its error raised here."""
        number, replies = self.ask(what, *arguments)
        try:
            return self.value(replies, wait_s)
        finally:
            self.forget(number)

    def ask(self, what: str, *arguments: Any) -> tuple[int, queue.Queue[_Reply]]:
        number = next(self._numbers)
        replies: queue.Queue[_Reply] = queue.Queue()
        self._waiting[number] = replies
        self._send((number, what, arguments))
        if self.lost:
            replies.put(Failed("UpstreamError", _LOST))
        return number, replies

    def value(self, replies: queue.Queue[_Reply], wait_s: float) -> Any:
        try:
            reply = replies.get(timeout=wait_s)
        except queue.Empty:
            self.give_up_after(wait_s)
            raise UpstreamError(f"the language model did not answer within {wait_s:g} s") from None
        if isinstance(reply, Failed):
            raise reply.error()
        return reply

    def cancel(self, number: int, replies: queue.Queue[_Reply]) -> None:
        """Stop a generation, and wait until the model is free of it."""
        self._send((number, "cancel", ()))
        with contextlib.suppress(queue.Empty):
            while not isinstance(replies.get(timeout=END_S), Failed | _EndType):
                pass

    def give_up_after(self, silence_s: float) -> None:
        """End a child of which nobody has heard for so long: it hangs, and the next request starts another one."""
        if time.monotonic() - self._heard >= silence_s:
            self.lost = True
            self._process.kill()

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def close(self) -> None:
        self.lost = True
        self._process.kill()  # it holds nothing that has to be written down
        self._process.wait()
        self._pipe.close()

    def _send(self, message: tuple[int, str, tuple[Any, ...]]) -> None:
        try:
            with self._sending:
                self._pipe.send(message)
        except OSError:
            self.lost = True

    def _listen(self) -> None:
        try:
            while True:
                number, reply = self._pipe.recv()
                self._heard = time.monotonic()
                waiting = self._waiting.get(number)
                if waiting is not None:
                    waiting.put(reply)
        except (EOFError, OSError):
            self.lost = True
            for waiting in list(self._waiting.values()):
                waiting.put(Failed("UpstreamError", _LOST))


# ------------------------------------------------------------------------------------------------ in the child


class _Child:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._cancels: dict[int, threading.Event] = {}
        self._llm: BaseLLM | None = None
        self._models_folder = Path()

    def serve(self) -> None:
        """Until the parent is gone. Each call has a thread, so that a long one holds up no other."""
        while True:
            try:
                number, what, arguments = self._pipe.recv()
            except (EOFError, OSError):
                return
            if what == "cancel":
                if number in self._cancels:
                    self._cancels[number].set()
                continue
            if what == "generate":
                self._cancels[number] = threading.Event()
            threading.Thread(target=self._do, args=(number, what, arguments), daemon=True).start()

    def _do(self, number: int, what: str, arguments: tuple[Any, ...]) -> None:
        try:
            if what == "open":
                self._reply(number, self._open(*arguments))
            elif what == "generate":
                self._generate(number, *arguments)
            else:
                self._reply(number, getattr(self._llm, what)(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised again on the other side
            self._reply(number, Failed.of(error))

    def _open(self, settings: LlmSettings, models_folder: Path) -> int:
        from ckllm.llm.table import open_llm

        self._llm, self._models_folder = open_llm(settings, models_folder), models_folder
        return self._llm.context_length

    def _generate(self, number: int, request: GenerationRequest) -> None:
        assert self._llm is not None
        cancel = self._cancels[number]
        try:
            running = self._llm._generate(request, cancel)
            self._reply(number, running.prompt_tokens)
            pieces = running.pieces
            try:
                for piece in pieces:
                    self._reply(number, piece)
                    if cancel.is_set():
                        break
            finally:
                close = getattr(pieces, "close", None)
                if close is not None:
                    close()
        finally:
            del self._cancels[number]
        self._reply(number, _EndType())
        release(self._models_folder)  # a prompt of another length reads them again: some milliseconds

    def _reply(self, number: int, reply: _Reply) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._pipe.send((number, reply))


def _end_with(parent: int) -> None:
    """The closed pipe tells of the parent's end, unless another child of it has inherited the other end."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN_S)
    os._exit(0)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides; a terminal's Ctrl-C reaches both
        signal.signal(number, signal.SIG_IGN)
    os.nice(POLITENESS)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # the module under its own name: what is pickled here has to be known there
    from ckllm.service.model_process import _Child as Child

    Child(Connection(int(sys.argv[1]))).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
