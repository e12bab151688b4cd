"""How often: wrong credentials from one address, and requests of one key."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.errors import RateLimited


class Rates:
    """Counts over the last minute, in memory.

    Args:
        wrong: Wrong credentials that an address may send; 0 lets any number pass.
        requests: Requests that a key may make; 0 lets any number pass.
    """

    def __init__(self, *, wrong: int, requests: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._wrong = RateLimitItemPerMinute(wrong) if wrong else None
        self._requests = RateLimitItemPerMinute(requests) if requests else None

    def count_wrong(self, address: str) -> None:
        """Counts wrong credentials.

        Raises:
            RateLimited: There were too many from this address.
        """
        self._count(self._wrong, f"wrong {address}", "There were too many wrong keys from this address.")

    def count_request(self, holder_id: str) -> None:
        """Counts a request.

        Raises:
            RateLimited: The key made too many.
        """
        self._count(self._requests, f"request {holder_id}", "This key has made as many requests as it may.")

    def _count(self, limit: RateLimitItemPerMinute | None, whose: str, words: str) -> None:
        if limit is None or self._limiter.hit(limit, whose):
            return
        free_at = self._limiter.get_window_stats(limit, whose).reset_time
        raise RateLimited(f"{words} Try again in {max(1, math.ceil(free_at - time.time()))} s.")
