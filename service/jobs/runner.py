"""Threads that do the jobs of the queue, one attempt after the other, until each is done or refused for good."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import (
    AuditUnavailable,
    DeadlineExceeded,
    DecoderUnavailable,
    InstanceGone,
    InstanceTooLarge,
    InstanceUnreadable,
    JobLost,
    JobsUnusable,
    MemoryShort,
    ModelNotReady,
    NotAnalysable,
    PacsRefused,
    PacsUnavailable,
    QueueFull,
    ServiceError,
)
from service.jobs.job import Job, Priority, Stored
from service.jobs.queue import LEASE_S, JobQueue

LOOK_S = 0.5
"""Time between looks for jobs that another service added, or that became due."""

LONGEST_WAIT_S = 60.0
"""Between two attempts at a job."""

UNEXPECTED_TRIES = 5
"""Attempts at a job that fails in a way nobody has thought of. As of the next, those of this process alone count, and
not those that met a PACS which was away."""

GONE_TRIES = 8
"""Attempts at an instance that the PACS does not hold, some two minutes: one may tell of an image, or send it to us,
before it can be read there."""

PASSING = (
    PacsUnavailable,
    QueueFull,
    ModelNotReady,
    DeadlineExceeded,
    DecoderUnavailable,
    MemoryShort,
    AuditUnavailable,
    JobsUnusable,
)
"""What may be over at the next attempt: a job waits for that as long as it takes."""

FOR_GOOD = (PacsRefused, InstanceTooLarge, InstanceUnreadable)
"""What the next attempt would meet again."""

_LOG = logging.getLogger("service.jobs")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt that succeeded left behind."""

    results: tuple[Stored, ...] = ()
    note: str = ""
    rest_s: float = 0.0
    """How long other jobs of a low priority are to leave the PACS alone."""


class Runner:
    """Does the jobs of a queue with some threads; only the first takes those of a low priority."""

    def __init__(self, queue: JobQueue, work: Callable[[Job], Outcome], *, threads: int) -> None:
        self._queue = queue
        self._work = work
        self._running: set[str] = set()
        self._doubts: Counter[str] = Counter()
        """Of each job that waits, its attempts that ended in doubt whether another one would end otherwise."""
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"job-{index}", daemon=True)
            for index in range(threads)
        ]
        self._threads.append(threading.Thread(target=self._keep, name="job-leases", daemon=True))

    def start(self) -> None:
        """Begins to take jobs."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Lets a thread look for a job at once."""
        with self._wake:
            self._wake.notify_all()

    def stop(self) -> None:
        """Takes no more jobs, and returns when those that run have ended."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join()

    def run_next(self, lowest: Priority = Priority.BACKFILL) -> float | None:
        """Does the next job, if one is due. Returns how long to leave jobs of a low priority alone, None without one.

        Raises:
            JobsUnusable: The database cannot be used.
        """
        job = self._queue.take(lowest=lowest)
        if job is None:
            return None
        self._running.add(job.id)
        try:
            return self._attempt(job)
        finally:
            self._running.discard(job.id)

    def _attempt(self, job: Job) -> float:
        try:
            outcome = self._work(job)
        except NotAnalysable as error:
            self._finish(job, Outcome(note=f"Not analysed: {error}"))
        except JobLost as error:
            _LOG.warning("job=%s state=lost tries=%d why=%s", job.id, job.tries, error)
        except PASSING as error:
            self._put_off(job, job.tries, str(error))
        except InstanceGone as error:
            self._doubt(job, str(error), GONE_TRIES)
        except FOR_GOOD as error:
            self._refuse(job, str(error))
        except Exception as error:  # noqa: BLE001 - one job that fails must not keep the others from being done
            # Without its text, which may quote the file.
            self._doubt(job, f"Failed unexpectedly ({type(error).__name__}).", UNEXPECTED_TRIES)
        else:
            self._finish(job, outcome)
            return outcome.rest_s if job.order.priority else 0.0
        return 0.0

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self._doubts.pop(job.id, None)
        _LOG.info("job=%s state=done tries=%d results=%d", job.id, job.tries, len(outcome.results))
        self._queue.finish(job, outcome.results, outcome.note)

    def _doubt(self, job: Job, why: str, tries: int) -> None:
        """Tries a job again later, unless it has ended in doubt so many times."""
        self._doubts[job.id] += 1
        if self._doubts[job.id] < tries:
            self._put_off(job, self._doubts[job.id], why)
        else:
            self._refuse(job, why)

    def _put_off(self, job: Job, tries: int, why: str) -> None:
        # Not all at the same moment, so that a PACS that comes back is not met by all of them.
        seconds = min(2.0 ** (min(tries, 10) - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)  # noqa: S311
        _LOG.warning("job=%s state=queued tries=%d again_in_s=%.1f why=%s", job.id, job.tries, seconds, why)
        self._queue.put_off(job, seconds, why)

    def _refuse(self, job: Job, why: str) -> None:
        self._doubts.pop(job.id, None)
        _LOG.error("job=%s state=failed tries=%d why=%s", job.id, job.tries, why)
        self._queue.refuse(job, why)

    def _run(self, index: int) -> None:
        rested_at_s = 0.0
        while not self._stopping.is_set():
            lowest = Priority.LIVE if index or time.monotonic() < rested_at_s else Priority.BACKFILL
            try:
                done = self.run_next(lowest)
            except Exception as error:  # noqa: BLE001 - a thread that ends would leave all jobs to wait, and tell nobody
                why = str(error) if isinstance(error, ServiceError) else type(error).__name__
                _LOG.error("jobs cannot be taken: %s", why)
                done = None
            if done is None:
                self._pause(LOOK_S)
            elif done:
                rested_at_s = time.monotonic() + done

    def _pause(self, seconds: float) -> None:
        with self._wake:
            if not self._stopping.is_set():
                self._wake.wait(seconds)

    def _keep(self) -> None:
        while not self._stopping.wait(LEASE_S / 3):
            try:
                self._queue.renew(tuple(self._running))
            except Exception as error:  # noqa: BLE001 - as above
                why = str(error) if isinstance(error, ServiceError) else type(error).__name__
                _LOG.error("leases cannot be renewed: %s", why)
