"""Who changed what, and who was refused: one row each, written behind the requests by a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy import insert, select

from ckllm.errors import CkllmError
from ckllm.service.logs import log
from ckllm.service.tables import audit_table
from ckllm.store.catalogue_rows import storable
from ckllm.store.database import Database

READING = frozenset({"/v1/search", "/v1/chat/completions", "/v1/experts/route"})
"""POSTs that change nothing."""
REFUSED = frozenset({401, 403, 413, 429})
STRANGERS = RateLimitItemPerMinute(60)
"""Rows of callers whom nobody knows; what they send beyond that is in the log alone, so that they cannot fill the disk."""
_MOST = 10_000
_PATH = 500
_TOGETHER_S = 0.2
_COLUMNS = ("time", "user", "key_id", "address", "method", "path", "status", "code", "request_id")


class AuditLog(Database):
    def add(self, rows: list[dict[str, Any]]) -> None:
        with self._writing() as connection:
            connection.execute(insert(audit_table), rows)

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The newest first."""
        query = select(audit_table).order_by(audit_table.c.id.desc()).limit(count)
        with self._reading() as connection:
            return [{name: getattr(row, name) for name in _COLUMNS} for row in connection.execute(query)]


class Audit:
    """Takes rows without waiting for the database."""

    def __init__(self, open_log: Callable[[], AuditLog]) -> None:
        self._log = open_log
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST)
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self._started = False
        self._strangers = MovingWindowRateLimiter(MemoryStorage())

    def note(self, row: dict[str, Any], *, stranger: bool) -> None:
        if stranger and not self._strangers.hit(STRANGERS):
            return
        if not self._started:
            self._started = True
            self._thread.start()
        try:
            self._rows.put_nowait({**row, "time": time.time(), "path": storable(str(row["path"])[:_PATH])})
        except queue.Full:
            log.error("audit rows are lost: the database does not keep up")

    def close(self) -> None:
        """Write what is left."""
        if self._started:
            self._rows.put(None)
            self._thread.join(2.0)

    def _write(self) -> None:
        ended = False
        while not ended:
            rows = [self._rows.get()]
            time.sleep(_TOGETHER_S if rows[0] is not None else 0)
            while not self._rows.empty():
                rows.append(self._rows.get_nowait())
            ended = None in rows
            known = [row for row in rows if row is not None]
            try:
                if known:
                    self._log().add(known)
            except CkllmError as error:
                log.error("audit rows are lost", extra={"fields": {"rows": len(known), "reason": type(error).__name__}})
