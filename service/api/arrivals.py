"""Uploads on their way: there is room for some at the same time, and who is slow gives way to who is not."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.errors import QueueFull, UploadTimedOut

GRACE_S = 2.0
"""In which no upload is slow."""

SLOW_BYTES_PER_S = 20_000
"""Below this pace an upload gives way, where there is no room for another."""


class Arrival:
    """One upload.

    Args:
        large: It may hold more than an image has.
    """

    def __init__(self, *, large: bool = False) -> None:
        self.large = large
        self._since_s = time.monotonic()
        self._bytes = 0
        self._bound: asyncio.Timeout | None = None

    @property
    def pace(self) -> float:
        """Bytes per second so far; without an end within the grace."""
        passed_s = time.monotonic() - self._since_s
        return self._bytes / passed_s if passed_s > GRACE_S else float("inf")

    def count(self, more_bytes: int) -> int:
        """Counts what has arrived, and tells how much it is by now."""
        self._bytes += more_bytes
        return self._bytes

    @asynccontextmanager
    async def within(self, timeout_s: float) -> AsyncIterator[None]:
        """Where it is received.

        Raises:
            UploadTimedOut: It took longer, or gave way.
        """
        try:
            async with asyncio.timeout(timeout_s) as self._bound:
                yield
        except TimeoutError as error:
            raise UploadTimedOut(
                f"The body did not arrive within {timeout_s:g} s, or so slowly that it gave way to another."
            ) from error

    def give_way(self) -> None:
        """Ends now."""
        if self._bound is not None:
            self._bound.reschedule(asyncio.get_running_loop().time())


class Arrivals:
    """Those that are being received."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._arrivals: set[Arrival] = set()

    @contextmanager
    def place(self, *, large: bool) -> Iterator[Arrival]:
        """Room for one more.

        Raises:
            QueueFull: There is none, and nobody is slow.
        """
        if len(self._arrivals) >= self._capacity and not self.make_room(large=False):
            raise QueueFull(f"{self._capacity} uploads are being received already.")
        arrival = Arrival(large=large)
        self._arrivals.add(arrival)
        try:
            yield arrival
        finally:
            self._arrivals.discard(arrival)

    def make_room(self, *, large: bool) -> bool:
        """Ends the slowest, if one is slow; of the large ones alone, if room for a large one is needed."""
        slow = [each for each in self._arrivals if each.pace < SLOW_BYTES_PER_S and (each.large or not large)]
        if not slow:
            return False
        slowest = min(slow, key=lambda each: each.pace)
        slowest.give_way()
        self._arrivals.discard(slowest)
        return True
