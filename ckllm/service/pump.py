"""A blocking generator, run in a thread and read from the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 15.0
"""After so long without an item the reader hears None, so that it can tell its own reader that it is still there."""


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None = None


async def pumped(
    make: Callable[[], Generator[T, None, None]], threads: Executor, done: Callable[[], None]
) -> AsyncGenerator[T | None, None]:
    """The items as they are made, and None in long pauses. Closing this closes the generator at its next item.

    `done` is called, in the loop, when the generator's thread has ended, whatever the reason.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()
    stopped = threading.Event()

    def tell(item: T | _End) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(items.put_nowait, item)

    def run() -> None:
        end = _End()
        try:
            with closing(make()) as generator:
                for item in generator:
                    if stopped.is_set():
                        break
                    tell(item)
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            end = _End(error)
        finally:
            tell(end)
            if not loop.is_closed():
                loop.call_soon_threadsafe(done)

    threads.submit(contextvars.copy_context().run, run)
    try:
        while True:
            item = await _next(items)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()


async def _next(items: asyncio.Queue[T]) -> T | None:
    try:
        async with asyncio.timeout(PAUSE_S):
            return await items.get()
    except TimeoutError:
        return None
