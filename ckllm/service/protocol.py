"""HTTP/1.1 as uvicorn speaks it with h11, and a client that sends its headers drop by drop is not waited for."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ckllm.service.errors import HttpError, answer

HEADERS_S = 10.0
"""How long the head of a request may take."""


class Protocol(H11Protocol):
    _watch: asyncio.TimerHandle | None = None
    _seen = -1

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch = self.loop.call_later(HEADERS_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP at all gets our form of an error too."""
        body = answer(HttpError(400, "invalid_http", msg)).body
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=bytes(body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look(self) -> None:
        """Close a connection on which no request has begun, or whose next one has a head that does not come to its end."""
        begun = bool(self.conn.trailing_data[0])
        waiting = self.conn.their_state is h11.IDLE
        if waiting and (self.cycle is None or (begun and self._seen == self.server_state.total_requests)):
            self.transport.close()
            return
        self._seen = self.server_state.total_requests if waiting and begun else -1
        self._watch = self.loop.call_later(HEADERS_S, self._look)
