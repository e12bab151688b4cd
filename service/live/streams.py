"""All live streams: how many there are, and what share of the workers they have."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from service.errors import TooManyStreams
from service.live.stream import Stream
from service.metrics import Metrics
from service.workers import WorkerPool

AT_ONCE = 2
"""Frames of one stream that are worked on at the same time at most: more would be behind each other's smoothing."""


BURST_S = 3.0
"""Time for which frames may come faster than they may on the mean."""


class Allowance:
    """How many frames may still come: so many a second, and what was not used for up to BURST_S."""

    def __init__(self, frames_per_s: float) -> None:
        self._frames_per_s = frames_per_s
        self._left = frames_per_s * BURST_S
        self._at_s = 0.0

    def takes(self, at_s: float) -> bool:
        """Whether one more may come at this time, which does not go back."""
        gained = (at_s - self._at_s) * self._frames_per_s
        self._left = min(self._left + gained, self._frames_per_s * BURST_S) - 1
        self._at_s = at_s
        return self._left >= 0


async def until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Runs all at once until the first ends, and raises what it raises; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(_take_note)
        await asyncio.wait(tasks)


def _take_note(task: asyncio.Task[None]) -> None:
    """Of a further error at the end, or asyncio would complain that nobody did."""
    if not task.cancelled():
        task.exception()


class Streams:
    """Streams share the workers with each other and with uploads.

    No more frames are with the pool than it has workers. They go before the uploads that wait there, but the next one
    comes only when one is done, and meanwhile the worker has taken an upload, if one waits: neither side can starve the
    other. Among the streams, whoever has waited longest is next.

    Args:
        pool: Of the workers.
        metrics: To be told.
        limit: Streams at the same time.
    """

    def __init__(self, pool: WorkerPool, metrics: Metrics, *, limit: int) -> None:
        self._pool = pool
        self._metrics = metrics
        self._limit = limit
        self._open = 0
        self._share = asyncio.Semaphore(pool.workers)

    def refuse_if_full(self) -> None:
        """Raises TooManyStreams if `place` would."""
        if self._open >= self._limit:
            raise TooManyStreams(f"There are {self._limit} live streams already: try again when one has ended.")

    @contextmanager
    def place(self) -> Iterator[None]:
        """The time of a stream.

        Raises:
            TooManyStreams: There are as many as there may be.
        """
        self.refuse_if_full()
        self._open += 1
        self._metrics.stream_sessions.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._metrics.stream_sessions.set(self._open)

    async def answer(self, stream: Stream) -> None:
        """Has the stream's frames answered, until this is cancelled or a frame cannot be used.

        Raises:
            ImageError: A frame cannot be used.
            FrameMalformed: A frame is not what its header says.
            QueueFull: The service stops.
        """
        await until_one_ends(*(self._answer_one_by_one(stream) for _ in range(min(AT_ONCE, self._pool.workers))))

    async def _answer_one_by_one(self, stream: Stream) -> None:
        while True:
            await stream.waiting.acquire()
            async with self._share:
                await asyncio.wrap_future(self._pool.submit(stream.work, urgent=True))
