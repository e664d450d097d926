"""Clients that go away before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from ckllm.service.errors import client_gone

T = TypeVar("T")


async def unless_gone(request: Request, awaitable: Awaitable[T]) -> T:
    """The awaitable's value; it is cancelled where the client goes away first. The request's body has been read before."""
    work = asyncio.ensure_future(awaitable)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise client_gone()
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
