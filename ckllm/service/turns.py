"""Turns at what computes: so many at once, the others wait, and no user's many requests hold up another's one.

Waiting requests are taken user by user (round robin), each user's in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from ckllm.service.errors import HttpError

_LATER = {"Retry-After": "2"}


class Turns:
    """Used from one event loop only."""

    def __init__(
        self, at_once: int, waiting: int, waiting_per_user: int, longest_s: float | None = None, of: str = "questions"
    ) -> None:
        """`longest_s`: how long one waits for a turn; `of`: what waits, for the messages."""
        self._of = of
        self._at_once = self._free = at_once
        self._longest_s = longest_s
        self._most, self._most_of_one = waiting, waiting_per_user
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def taken(self) -> int:
        return self._at_once - self._free

    async def take(self, user: str) -> None:
        """Wait for a turn; `give_back` ends it. HttpError 429 or 503 where too many wait already, or none comes in time."""
        if self._free and not self._queues:
            self._free -= 1
            return
        self._refuse(user)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(user, deque()).append(turn)
        try:
            async with asyncio.timeout(self._longest_s):
                await self._come(user, turn)
        except TimeoutError:
            raise HttpError(503, "queue_slow", "your turn did not come in time: try again later", headers=_LATER) from None

    async def _come(self, user: str, turn: asyncio.Future[None]) -> None:
        """Wait for the turn; where that is broken off, it is given on, or the place in the queue is given up."""
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            else:
                self._forget(user, turn)
            raise

    def give_back(self) -> None:
        self._free += 1
        while self._free and self._queues:
            user, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            if queue:
                self._queues.move_to_end(user)
            else:
                del self._queues[user]
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _refuse(self, user: str) -> None:
        if len(self._queues.get(user, ())) >= self._most_of_one:
            message = f"too many of your {self._of} wait already: try again soon"
            raise HttpError(429, f"too_many_{self._of}", message, headers=_LATER)
        if self.waiting >= self._most:
            raise HttpError(503, "queue_full", f"too many {self._of} wait already: try again soon", headers=_LATER)

    def _forget(self, user: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(user)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[user]
