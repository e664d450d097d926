"""How many requests one key, and how many wrong keys one address, may send a minute."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ckllm.service.errors import HttpError

WRONG_KEYS = 30


class Rates:
    """Counts in this process: several processes each allow as many."""

    def __init__(self, per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._wrong = RateLimitItemPerMinute(WRONG_KEYS)

    def request(self, key: str) -> None:
        """HttpError 429 with Retry-After where a key has sent too many."""
        if self._requests is not None and not self._limiter.hit(self._requests, "request", key):
            raise self._refusal(self._requests, "request", key)

    def wrong_key(self, address: str) -> None:
        """Count a wrong key; HttpError 429 where an address has tried too many."""
        if not self._limiter.hit(self._wrong, "wrong", address):
            raise self._refusal(self._wrong, "wrong", address)

    def _refusal(self, item: RateLimitItem, *of: str) -> HttpError:
        free_at = self._limiter.get_window_stats(item, *of).reset_time
        wait = str(max(1, math.ceil(free_at - time.time())))
        return HttpError(429, "too_many_requests", "too many requests: try again later", headers={"Retry-After": wait})
