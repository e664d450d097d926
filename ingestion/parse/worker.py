"""Parsers in processes of their own: a parser that hangs, crashes or eats memory costs one file.

Each of the pool's threads owns one process and talks to it over two pipes with length-prefixed pickles. The process is a
plain `python -c`, not a multiprocessing child, so that a program without an `if __name__ == "__main__"` guard can ingest.
It is started by a thread that lives as long as itself, because PR_SET_PDEATHSIG fires when the starting *thread* ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ckllm.contracts import Document, Source
from ckllm.errors import DataError

_POLL_S = 0.1
_RECYCLE_MB = 700
_RECYCLE_FILES = 500
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from ingestion.parse.child import serve; "
    "serve(int(sys.argv[2]), int(sys.argv[3]))"
)
"""What a worker runs. Arguments: the folder that holds the packages, the parent's process id, the memory limit in MB."""
_LENGTH = struct.Struct("<Q")
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """One file for a worker. An empty `media_type` means: detect it first."""

    source: Source
    media_type: str
    folder: Path
    max_bytes: int


class ParserPool:
    """Parses files in `workers` processes, each file within `timeout_s` and `memory_mb`.

    `folder` is where attachments and other embedded documents are written. Use as a context manager: leaving it ends the
    processes, and files not yet parsed fail with DataError.
    """

    def __init__(self, workers: int, timeout_s: float, memory_mb: int, folder: Path, max_bytes: int = 1 << 40) -> None:
        self._limits = Limits(timeout_s, memory_mb)
        self._folder = folder
        self._max_bytes = max_bytes
        self._workers = max(1, workers)
        self._tasks: queue.SimpleQueue[tuple[Task, Future[Document]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0

    def submit(self, source: Source, media_type: str = "") -> Future[Document]:
        """A future of the document. It fails with DataError (one line) where the file cannot be parsed, OSError on a full disk.

        `media_type` is what `detect` found; without it the worker detects.
        """
        future: Future[Document] = Future()
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError("the parser pool is closed")
            self._waiting += 1
            self._tasks.put((Task(source, media_type, self._folder, self._max_bytes), future))
            if len(self._threads) < min(self._workers, self._waiting):
                thread = threading.Thread(target=self._run, name=f"parser-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. What is being parsed is stopped; what waits fails."""
        with self._lock:
            self._closed.set()
            for _ in self._threads:
                self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        worker = _Worker(self._limits, self._closed)
        try:
            while (item := self._tasks.get()) is not None:
                task, future = item
                if future.set_running_or_notify_cancel():
                    _settle(future, task, worker, self._closed)
                with self._lock:
                    self._waiting -= 1
        finally:
            worker.stop()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost."""

    timeout_s: float
    memory_mb: int


def _settle(future: Future[Document], task: Task, worker: _Worker, closed: threading.Event) -> None:
    try:
        if closed.is_set():
            raise DataError("not parsed, the run was ended")
        future.set_result(worker.parse(task))
    except BaseException as error:  # noqa: BLE001 - whatever happens belongs to the one who waits for the future
        future.set_exception(error)


class _Worker:
    """One process and the parent's ends of its pipes. Not thread-safe: one thread owns it."""

    def __init__(self, limits: Limits, closed: threading.Event) -> None:
        self._limits = limits
        self._closed = closed
        self._process: subprocess.Popen[bytes] | None = None
        self._parsed = 0

    def parse(self, task: Task) -> Document:
        process = self._started()
        try:
            _send(process.stdin.fileno(), pickle.dumps(task))  # type: ignore[union-attr]
            answer = self._wait(process)
        except OSError:
            answer = None
        if answer is None:
            ending = _how_it_ended(process)
            self.stop()
            raise DataError(f"the parser crashed{ending} (is the file damaged?)")
        self._parsed += 1
        result = pickle.loads(answer)  # noqa: S301 - our own process wrote it
        if self._parsed >= _RECYCLE_FILES or _memory_mb(process.pid, children=False) > _RECYCLE_MB:
            self.stop()
        if isinstance(result, str):
            raise DataError(result)
        if isinstance(result, OSError):
            raise result
        assert isinstance(result, Document)
        return result

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = _start(self._limits.memory_mb)
            self._parsed = 0
        return self._process

    def _wait(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """The answer's bytes, None where the process ended without one. Raises DataError past a limit."""
        stream = process.stdout
        assert stream is not None
        end = time.monotonic() + self._limits.timeout_s
        buffer = bytearray()
        wanted = _LENGTH.size
        while True:
            ready, _, _ = select.select([stream], [], [], min(_POLL_S, max(0.0, end - time.monotonic())))
            if ready:
                piece = os.read(stream.fileno(), 1 << 20)
                if not piece:
                    return None
                buffer += piece
                if wanted == _LENGTH.size and len(buffer) >= wanted:
                    wanted += _LENGTH.unpack_from(buffer)[0]
                if len(buffer) >= wanted > _LENGTH.size:
                    return bytes(buffer[_LENGTH.size :])
                continue
            self._check_limits(process, end)

    def _check_limits(self, process: subprocess.Popen[bytes], end: float) -> None:
        if self._closed.is_set():
            self.stop()
            raise DataError("not parsed, the run was ended")
        if time.monotonic() >= end:
            self.stop()
            raise DataError(f"parsing took more than {self._limits.timeout_s:g} s and was stopped (ingest.parse_timeout_s)")
        if _memory_mb(process.pid) > self._limits.memory_mb:
            self.stop()
            raise DataError(
                f"parsing took more than {self._limits.memory_mb:,} MB of memory and was stopped (ingest.parse_memory_mb)"
            )

    def stop(self) -> None:
        """Kill the process and what it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    code = process.returncode
    if code is None or code >= 0:
        return "" if code is None else f" (exit code {code})"
    return f" ({signal.Signals(-code).name})" if -code in {int(known) for known in signal.Signals} else f" (signal {-code})"


def _memory_mb(pid: int, children: bool = True) -> float:
    """Resident memory of a process, in MB (2**20 bytes), with its children or, which takes far less time, without."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *(process.children(recursive=True) if children else ())):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total / _MB


def _start(memory_mb: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    # the worker reads files from strangers: it gets no keys, and no more threads than the one it is given
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("CKLLM_") and "KEY" not in key and "TOKEN" not in key
    }
    environment |= {
        "OMP_NUM_THREADS": "1",
        "OMP_THREAD_LIMIT": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, root, str(os.getpid()), str(memory_mb)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
        start_new_session=True,
    )


def _send(descriptor: int, data: bytes) -> None:
    message = memoryview(_LENGTH.pack(len(data)) + data)
    while message:
        message = message[os.write(descriptor, message) :]
