"""Threads that do the work that would block the event loop, behind a bounded queue."""

import math
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Condition, Thread
from typing import Any, TypeVar

from service.errors import QueueFull

T = TypeVar("T")


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its CPU affinity, and at most the quota of its container (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except OSError:
        return cores
    return cores if quota == "max" else min(cores, math.ceil(int(quota) / int(period)))


class WorkerPool:
    """A fixed number of worker threads that take work in the order of its arrival, urgent work before all other.

    Each piece of work is called with the index of its worker, from 0, so that it can use what belongs to that worker
    alone. Cancelling the future of work that waits takes it out of the queue at once.
    """

    def __init__(self, name: str, *, workers: int, capacity: int) -> None:
        self.workers = workers
        self.capacity = capacity
        self._waiting: deque[tuple[Future[Any], Callable[[int], Any]]] = deque()
        self._urgent: deque[tuple[Future[Any], Callable[[int], Any]]] = deque()
        self._running = 0
        self._closed = False
        self._changed = Condition()
        self._threads = [
            Thread(target=self._work, args=(index,), name=f"{name}-{index}", daemon=True) for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pieces of work that no worker has taken yet."""
        return len(self._waiting) + len(self._urgent)

    @property
    def running(self) -> int:
        """Pieces of work that a worker is at."""
        return self._running

    def submit(self, work: Callable[[int], T], *, urgent: bool = False) -> Future[T]:
        """Queues work.

        Args:
            work: Is called with the index of its worker.
            urgent: Goes before all that waits and is not urgent, and into a full queue too.

        Raises:
            QueueFull: Every worker is taken and `capacity` pieces of work wait already, or the pool is closed.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed or not urgent:
                self.refuse_if_full()
            (self._urgent if urgent else self._waiting).append((future, work))
            self._changed.notify()
        future.add_done_callback(self._forget_cancelled)
        return future

    def refuse_if_full(self) -> None:
        """Raises QueueFull if `submit` would."""
        if self._closed or self.waiting + self._running >= self.workers + self.capacity:
            raise QueueFull(f"The queue is full ({self.capacity}): try again soon.")

    def close(self) -> None:
        """Finishes the work that runs, drops the work that waits, and ends the threads."""
        with self._changed:
            self._closed = True
            dropped = [*self._urgent, *self._waiting]
            self._changed.notify_all()
        for future, _ in dropped:
            future.cancel()
        for thread in self._threads:
            thread.join()

    def _forget_cancelled(self, future: Future[Any]) -> None:
        if future.cancelled():
            with self._changed:
                self._waiting = deque(item for item in self._waiting if item[0] is not future)
                self._urgent = deque(item for item in self._urgent if item[0] is not future)

    def _work(self, index: int) -> None:
        while (item := self._take()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    result = work(index)
                except BaseException as error:  # noqa: BLE001 - it is raised where the future is waited for
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del item, future, work  # an idle thread must not keep an image or a model alive
            with self._changed:
                self._running -= 1

    def _take(self) -> tuple[Future[Any], Callable[[int], Any]] | None:
        """Next piece of work, waited for; none once the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting or self._closed)
            if self._closed:
                return None
            self._running += 1
            return (self._urgent or self._waiting).popleft()
