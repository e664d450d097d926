"""Milvus Lite in this process: a data folder opened, and spoken to over a private Unix socket.

pymilvus opens Lite on a loopback TCP port, where every user of the machine could read every document; and it turns all reasons
for a failure into "failed". So the folder is opened here, with the same server, and the client is given the socket.

Durability. Lite appends each write to a log and hands it to the operating system at once: a killed process loses nothing. Its
`flush` writes a Parquet file, then commits a manifest with fsync, then deletes the log. The Parquet file itself is not synced, so
a power cut could leave a committed but empty file; `_sync_files` closes that gap by syncing each file when it is written, before
the manifest names it. Writes since the last flush can be lost in a power cut, never in a crash.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ckllm.errors import StoreError

_RETRY_S = 0.2


class LockedStoreError(StoreError):
    """Another process has the folder open."""

    def __init__(self, folder: Path, waited_s: float) -> None:
        super().__init__(
            f"the store {folder} is open in another process (waited {waited_s:g} s): "
            "let it finish or stop it, or give more time with store.lock_timeout_s"
        )
        self.folder = folder


class LiteServer:
    """Holds the folder's lock until `close`. Raises StoreError that names the folder."""

    def __init__(self, folder: Path, lock_timeout_s: float) -> None:
        self.folder = folder
        quiet()
        try:
            from milvus_lite.adapter.grpc.server import start_server_in_thread

            from ckllm.store.lite_search import install
        except ImportError:
            raise StoreError(f"milvus-lite is not installed, and {folder} needs it: pip install milvus-lite") from None
        _sync_files()
        install()
        if folder.is_file():
            raise StoreError(f"{folder} is a file, and Milvus Lite keeps its data in a folder: give another path (store.uri)")
        self._sockets = tempfile.TemporaryDirectory(prefix="ckllm-")
        socket = Path(self._sockets.name) / "milvus"
        try:
            self._server, self._database = self._open(start_server_in_thread, socket, lock_timeout_s)
        except BaseException:
            self._sockets.cleanup()
            raise
        self.uri = f"unix:{socket}"

    def _open(self, start: Callable[..., Any], socket: Path, lock_timeout_s: float) -> tuple[Any, Any]:
        from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError

        deadline = time.monotonic() + lock_timeout_s
        while True:
            try:
                server, database, _ = start(str(self.folder), host="unix", port=socket)
                return server, database
            except DataDirLockedError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LockedStoreError(self.folder, lock_timeout_s) from None
                time.sleep(min(_RETRY_S, left))
            except (OSError, MilvusLiteError, ValueError) as error:
                raise StoreError(f"the store {self.folder} cannot be opened: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """Let the running requests finish, write what is in memory, release the lock."""
        self._server.stop(grace=5).wait()
        self._database.close()
        self._sockets.cleanup()

    def __enter__(self) -> LiteServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


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
