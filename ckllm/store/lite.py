"""Milvus Lite in this process: a data folder opened, read directly, and served over a private Unix socket to who writes.

pymilvus opens Lite on a loopback TCP port, where every user of the machine could read every document; and it turns all reasons
for a failure into "failed". So the folder is opened here; the server, Lite's own, is started when the first client needs it.

Durability. Lite appends each write to a log and hands it to the operating system at once: a killed process loses nothing. Its
`flush` writes a Parquet file, then commits a manifest with fsync, then deletes the log. The Parquet file itself is not synced, so
a power cut could leave a committed but empty file; `_sync_files` closes that gap by syncing each file when it is written, before
the manifest names it. Writes since the last flush can be lost in a power cut, never in a crash.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from ckllm import light_imports
from ckllm.errors import StoreError

_RETRY_S = 0.2
_THREADS = 10
_LONGEST_MESSAGE = 256 * 1024 * 1024


class LockedStoreError(StoreError):
    """Another process has the folder open."""

    def __init__(self, folder: Path, waited_s: float) -> None:
        super().__init__(
            f"the store {folder} is open in another process (waited {waited_s:g} s): "
            "let it finish or stop it, or give more time with store.lock_timeout_s"
        )
        self.folder = folder


class LiteFolder:
    """A data folder, open: holds its lock until `close`. Raises StoreError that names the folder."""

    def __init__(self, folder: Path, lock_timeout_s: float) -> None:
        self.folder = folder
        quiet()
        try:
            light_imports.milvus_lite()

            from ckllm.store import lite_arrays, lite_search
            from ckllm.store.lite_reading import LiteReader
        except ImportError:
            raise StoreError(f"milvus-lite is not installed, and {folder} needs it: pip install milvus-lite") from None
        _sync_files()
        lite_arrays.install()
        lite_search.install()
        if folder.is_file():
            raise StoreError(f"{folder} is a file, and Milvus Lite keeps its data in a folder: give another path (store.uri)")
        self._database = self._open(lock_timeout_s)
        self.reader = LiteReader(self._database)
        self._serving = threading.Lock()
        self._server: _Server | None = None
        self._closed = False

    def _open(self, lock_timeout_s: float) -> Any:
        from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError

        from ckllm.store.lite_database import LiteDatabase

        deadline = time.monotonic() + lock_timeout_s
        while True:
            try:
                return LiteDatabase(self.folder)
            except DataDirLockedError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LockedStoreError(self.folder, lock_timeout_s) from None
                time.sleep(min(_RETRY_S, left))
            except (OSError, MilvusLiteError, ValueError) as error:
                raise StoreError(f"the store {self.folder} cannot be opened: {' '.join(str(error).split())}") from error

    @property
    def uri(self) -> str:
        """Where a client reaches it: a Unix socket in a private folder. It is served from the first time that this is asked."""
        with self._serving:
            if self._closed:
                raise StoreError(f"the store {self.folder} is closed")
            if self._server is None:
                self._server = _Server(self._database)
            return self._server.uri

    def close(self) -> None:
        """Let the running requests finish, write what is in memory, release the lock."""
        with self._serving:
            self._closed = True
            self.reader.close()
            if self._server is not None:
                self._server.close()
            self._database.close()

    def __enter__(self) -> LiteFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Server:
    """Lite's own server, over a database that is open already."""

    def __init__(self, database: Any) -> None:
        light_imports.milvus_messages()

        import grpc
        from milvus_lite.adapter.grpc.servicer import MilvusServicer
        from pymilvus.grpc_gen import milvus_pb2_grpc

        self._sockets = tempfile.TemporaryDirectory(prefix="ckllm-")
        self.uri = f"unix:{Path(self._sockets.name) / 'milvus'}"
        sizes = [(f"grpc.max_{way}_message_length", _LONGEST_MESSAGE) for way in ("receive", "send")]
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, "milvus"), options=sizes)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), self._server)
        try:
            self._server.add_insecure_port(self.uri)
            self._server.start()
        except RuntimeError as error:
            self._sockets.cleanup()
            raise StoreError(f"the store cannot be shared over {self.uri}: {error}") from error

    def close(self) -> None:
        self._server.stop(grace=5).wait()
        self._sockets.cleanup()


def quiet() -> None:
    """Errors come as exceptions; what pymilvus and Lite log about them besides (with stack traces) is not for users."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _sync_files() -> None:
    """Have Lite sync its Parquet files before its manifest commits them; done once in a process."""
    from milvus_lite.engine import compaction, flush

    for module in (flush, compaction):
        for name in ("write_data_file", "write_delta_file"):
            write = getattr(module, name, None)
            if write is not None and not getattr(write, "syncs", False):
                setattr(module, name, _syncing(write))


def _syncing(write: Callable[..., str]) -> Callable[..., str]:
    def write_and_sync(table: Any, partition_dir: str, seq_min: int, seq_max: int) -> str:
        relative = write(table, partition_dir, seq_min, seq_max)
        file = Path(partition_dir) / relative
        for path in (file, file.parent, file.parent.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return relative

    write_and_sync.syncs = True  # type: ignore[attr-defined]
    return write_and_sync
