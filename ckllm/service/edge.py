"""What every request goes through, before and around the routes: request id, doors, limits of bodies, headers, one log line.

A plain ASGI layer: a layer that wrapped the response would hide from the routes that a client has gone away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ckllm.service.caller import Caller
from ckllm.service.doors import OPEN, Doors
from ckllm.service.errors import HttpError, answer, known, problem_of
from ckllm.service.rates import Rates

if TYPE_CHECKING:
    from ckllm.config import ServiceSettings
    from ckllm.service.core import Core

UPLOADS = "/v1/documents"
_LINGER_S, _LINGER_BYTES = 0.3, 1 << 20
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Edge:
    def __init__(self, app: ASGIApp, core: Core, doors: Doors, host: str, observe: Callable[[Scope, int, float], None]) -> None:
        self._app, self._core, self._doors, self._host, self._observe = app, core, doors, host, observe
        self._settings: ServiceSettings = core.settings.service
        self._rates = Rates(self._settings.requests_per_minute)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        scope["ckllm.request_id"] = uuid4().hex[:16]

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = scope["ckllm.request_id"]
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        self._under_way += 1
        try:
            await self._within(scope, receive, sent)
        finally:
            self._under_way -= 1
            self._observe(scope, status, time.perf_counter() - began)

    async def _within(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        body = Body(receive, self._settings.body_timeout_s)

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._admit(scope, body)
            await self._app(scope, body, sent)
        except Exception as error:  # noqa: BLE001 - the outermost edge: told to the client as far as that is still possible
            problem = body.problem or problem_of(known(error), trusted=False)
            scope["ckllm.problem"], scope["ckllm.error"] = problem, error
            if not started:
                await _refuse(problem, body, send)

    async def _admit(self, scope: Scope, body: Body) -> None:
        headers = Headers(scope=scope)
        if self._under_way > self._settings.connections:
            raise HttpError(503, "busy", "too many requests at once: try again soon", headers={"Retry-After": "1"})
        setting, megabytes = self._limit(scope)
        body.limit = int(megabytes * 1_000_000)
        body.told = f"the body is larger than {megabytes:g} MB: send less at once, or raise service.{setting}"
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > body.limit:
            raise HttpError(413, "too_large", body.told, headers={"Connection": "close"})
        await self._core.admit(self._doors.check_browser, headers, self._host)
        if scope["path"] in OPEN:
            return
        address = (scope.get("client") or ("", 0))[0]
        try:
            caller: Caller = await self._core.admit(self._doors.caller, headers, address)
        except HttpError as error:
            if error.code == "invalid_key":
                self._rates.wrong_key(address)
            raise
        scope["ckllm.caller"] = caller
        if not caller.is_owner:
            self._rates.request(caller.key_id or f"user {caller.user}")

    def _limit(self, scope: Scope) -> tuple[str, float]:
        """The setting's name and its MB."""
        upload = scope["method"] == "POST" and scope["path"].rstrip("/") == UPLOADS
        setting = "upload_limit_mb" if upload else "request_limit_mb"
        return setting, getattr(self._settings, setting)


class Body:
    """A request's body as it comes in: counted, and not waited for without end."""

    def __init__(self, receive: Receive, pause_s: float) -> None:
        self._receive, self._pause_s = receive, pause_s
        self._whole = False
        self._size = 0
        self.limit = 0
        self.told = ""
        self.problem: HttpError | None = None

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._pause_s):
                message = await self._receive()
        except TimeoutError:
            raise self._failed(
                HttpError(408, "slow_body", "the rest of the body did not come: send it again", headers={"Connection": "close"})
            ) from None
        self._size += len(message.get("body", b""))
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._size > self.limit:
            raise self._failed(HttpError(413, "too_large", self.told, headers={"Connection": "close"}))
        return message

    def _failed(self, problem: HttpError) -> HttpError:
        """Kept, since what parses a body may take our exception for a broken body."""
        self.problem = problem
        return problem

    async def drain(self) -> None:
        """Read on for a moment: a connection that is closed on unread bytes is reset, and the client may lose the answer."""
        try:
            async with asyncio.timeout(_LINGER_S):
                size = 0
                while not self._whole and size < _LINGER_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return


async def _refuse(problem: HttpError, body: Body, send: Send) -> None:
    response = answer(problem)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    await body.drain()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
