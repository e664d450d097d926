"""The parser process: reads tasks from standard input, writes documents to what was its standard output.

It dies with its parent, reaches no network, and turns every failure into one line. Started by `worker.py`.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

from ckllm.bound import die_with
from ckllm.errors import DataError, is_disk_full
from ingestion.parse.language import preload

if TYPE_CHECKING:
    from ingestion.parse.worker import Task

_LENGTH = struct.Struct("<Q")
_HEADROOM_MB = 1024
_STACK_BYTES = 256 * 1024 * 1024
_NETWORK_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto"})


def serve(parent: int, memory_mb: int) -> None:
    """Parse what comes until standard input ends. `parent` is the process that must be alive for this one to live."""
    die_with(parent, signal.SIGKILL)
    # address space that is reserved but never touched counts here too, hence the room; the parent watches what is resident
    limit = (memory_mb + _HEADROOM_MB) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_no_network)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    threading.Thread(target=preload, daemon=True).start()
    threading.stack_size(_STACK_BYTES)
    reader = threading.Thread(target=_loop, args=(0, answers))
    reader.start()
    reader.join()


def _no_network(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _NETWORK_EVENTS:
        raise PermissionError("parsers reach no network")


def _loop(tasks: int, answers: int) -> None:
    # a deeply nested document ends in RecursionError, which is caught, and not in an overflow of the stack
    sys.setrecursionlimit(20_000)
    while (size := _read(tasks, _LENGTH.size)) is not None:
        data = _read(tasks, _LENGTH.unpack(size)[0])
        if data is None:
            return
        answer = pickle.dumps(run(pickle.loads(data)), protocol=5)  # noqa: S301 - the parent wrote it
        message = memoryview(_LENGTH.pack(len(answer)) + answer)
        while message:
            message = message[os.write(answers, message) :]


def _read(descriptor: int, count: int) -> bytes | None:
    """Exactly `count` bytes, None at the end of the pipe."""
    buffer = bytearray()
    while len(buffer) < count:
        piece = os.read(descriptor, min(count - len(buffer), 1 << 20))
        if not piece:
            return None
        buffer += piece
    return bytes(buffer)


def run(task: Task) -> Any:
    """The document, or the reason why there is none; a full disk, which is not the file's fault, as the system's error."""
    from ingestion.parse.detect import detect
    from ingestion.parse.formats import parse

    try:
        media_type = task.media_type or detect(task.source, task.max_bytes)
        return parse(task.source, media_type, task.folder)
    except DataError as error:
        return " ".join(str(error).split())
    except MemoryError:
        return "parsing needs more memory than it may have (ingest.parse_memory_mb)"
    except RecursionError:
        return "nested too deeply to be read"
    except Exception as error:  # noqa: BLE001 - third-party parsers raise anything; it costs this file only
        if is_disk_full(error):
            return error
        return f"cannot be parsed: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]} (is the file damaged?)"
