"""The threads that do the jobs."""

from collections.abc import Callable
from threading import Event, Semaphore

import pytest

from service.errors import (
    AuditUnavailable,
    DecoderUnavailable,
    InstanceGone,
    InstanceUnreadable,
    JobLost,
    JobsUnusable,
    MemoryShort,
    NotAnalysable,
    PacsRefused,
    PacsUnavailable,
)
from service.jobs.job import Job, Priority, Stored
from service.jobs.queue import JobQueue
from service.jobs.runner import GONE_TRIES, LONGEST_WAIT_S, UNEXPECTED_TRIES, Outcome, Runner
from tests.service.jobs.conftest import Clock, order


def failing(error: Exception) -> Callable[[Job], Outcome]:
    """Work that ends with an error."""

    def work(_: Job) -> Outcome:
        raise error

    return work


def only(queue: JobQueue) -> Job:
    """The one job."""
    (job,) = queue.newest(state=None, limit=2)
    return job


def test_a_job_that_succeeds_is_done(queue: JobQueue) -> None:
    """Its results and its note are kept."""
    queue.add(order())
    runner = Runner(queue, lambda _: Outcome((Stored("SR", "2.25.1"),), "a note"), threads=1)

    assert runner.run_next() == 0
    assert runner.run_next() is None
    assert (only(queue).state, only(queue).results, only(queue).note) == ("done", (Stored("SR", "2.25.1"),), "a note")


def test_what_may_pass_is_tried_for_ever_and_ever_more_rarely(queue: JobQueue, clock: Clock) -> None:
    """A PACS that is away drops no job, and a thousand attempts later the wait is a minute at most."""
    queue.add(order())
    runner = Runner(queue, failing(PacsUnavailable("The PACS cannot be reached.")), threads=1)
    waits = []
    for _ in range(20):
        runner.run_next()
        waits.append((only(queue).due_at.timestamp()) - clock.now_s)
        clock.now_s += LONGEST_WAIT_S + 1

    assert only(queue).state == "queued"
    assert waits[0] <= 1
    assert LONGEST_WAIT_S / 2 <= waits[-1] <= LONGEST_WAIT_S
    assert only(queue).note == "The PACS cannot be reached."


def test_what_is_refused_for_good_fails_at_once(queue: JobQueue) -> None:
    """It is in the failed list with its reason."""
    queue.add(order())
    Runner(queue, failing(PacsRefused("The PACS refuses it.")), threads=1).run_next()

    assert (only(queue).state, only(queue).note) == ("failed", "The PACS refuses it.")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (InstanceUnreadable, "failed"),
        (DecoderUnavailable, "queued"),
        (MemoryShort, "queued"),
        (AuditUnavailable, "queued"),
    ],
)
def test_an_image_without_an_answer_is_listed_or_tried_again(
    queue: JobQueue, error: type[Exception], state: str
) -> None:
    """A damaged one is for people to see; a decoder, memory and a disk come back."""
    queue.add(order())
    Runner(queue, failing(error("why.")), threads=1).run_next()

    assert (only(queue).state, only(queue).note) == (state, "why.")


def test_what_the_pacs_does_not_hold_yet_is_tried_for_a_while(queue: JobQueue, clock: Clock) -> None:
    """An image may be told of before it can be read; after some two minutes it is one that was deleted."""
    queue.add(order())
    runner = Runner(queue, failing(InstanceGone("The PACS does not hold it (404).")), threads=1)
    states, waited_s = [], 0.0
    for _ in range(GONE_TRIES):
        runner.run_next()
        states.append(only(queue).state)
        wait_s = max(only(queue).due_at.timestamp() - clock.now_s, 0.0)
        waited_s += wait_s
        clock.now_s += wait_s + 0.001  # beyond the microseconds that are kept

    assert states == ["queued"] * (GONE_TRIES - 1) + ["failed"]
    assert waited_s > 60


@pytest.mark.parametrize("error", [InstanceGone("The PACS does not hold it (404)."), ValueError()])
def test_a_pacs_that_is_away_uses_up_no_patience(queue: JobQueue, clock: Clock, error: Exception) -> None:
    """However long it was away, what is doubtful after it is tried as often as ever, and soon."""
    queue.add(order())
    away = Runner(queue, failing(PacsUnavailable("The PACS cannot be reached.")), threads=1)
    back = Runner(queue, failing(error), threads=1)
    for _ in range(GONE_TRIES + 1):
        away.run_next()
        clock.now_s += LONGEST_WAIT_S + 1
    back.run_next()

    assert only(queue).state == "queued"
    assert only(queue).due_at.timestamp() - clock.now_s <= 1


def test_a_job_that_was_lost_is_left_to_who_has_it(queue: JobQueue) -> None:
    """Neither put off nor failed by whoever had it before."""
    queue.add(order())
    Runner(queue, failing(JobLost("why.")), threads=1).run_next()

    assert (only(queue).state, only(queue).note) == ("running", "")


def test_what_cannot_be_analysed_is_done(queue: JobQueue) -> None:
    """A Doppler image is no failure that a person must look at."""
    queue.add(order())
    Runner(queue, failing(NotAnalysable("it is Doppler.")), threads=1).run_next()

    assert (only(queue).state, only(queue).note) == ("done", "Not analysed: it is Doppler.")


def test_the_unexpected_fails_after_some_tries_and_tells_no_text(
    queue: JobQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error's own text may name a patient: neither job nor log has it."""
    queue.add(order())
    runner = Runner(queue, failing(ValueError("Perez^Ana")), threads=1)
    for _ in range(UNEXPECTED_TRIES):
        runner.run_next()
        clock.now_s += LONGEST_WAIT_S + 1

    assert only(queue).state == "failed"
    assert "ValueError" in only(queue).note
    assert "Perez" not in only(queue).note + caplog.text


def test_a_backfill_job_says_how_long_to_rest(queue: JobQueue) -> None:
    """Only one of a low priority does: live work never waits."""
    queue.add_all([order(1), order(2, Priority.BACKFILL)])
    runner = Runner(queue, lambda _: Outcome(rest_s=3.0), threads=1)

    assert [runner.run_next(), runner.run_next()] == [0.0, 3.0]


def test_threads_do_what_is_added(database_queue: JobQueue) -> None:
    """A job that is added while the threads run is done, and stopping waits for it."""
    done = Event()

    def work(_: Job) -> Outcome:
        done.set()
        return Outcome(rest_s=100.0)

    runner = Runner(database_queue, work, threads=2)
    runner.start()
    database_queue.add(order(1, Priority.BACKFILL))
    runner.wake()

    assert done.wait(30)
    runner.stop()
    assert only(database_queue).state == "done"


@pytest.mark.parametrize(
    ("error", "words"),
    [(JobsUnusable("The database of the jobs cannot be used."), "cannot be used"), (KeyError("Perez^Ana"), "KeyError")],
)
def test_a_database_that_fails_ends_no_thread(
    database_queue: JobQueue, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    """Whatever it is, it is told, and tried again: without its threads a service would take jobs and do none."""
    told = Semaphore(0)

    class Broken(JobQueue):
        def take(self, *, lowest: Priority = Priority.BACKFILL) -> Job | None:
            told.release()
            raise error

    database_queue.__class__ = Broken
    runner = Runner(database_queue, lambda _: Outcome(), threads=1)
    runner.start()
    assert told.acquire(timeout=30)
    assert told.acquire(timeout=30)
    runner.stop()

    assert "jobs cannot be taken" in caplog.text
    assert words in caplog.text
    assert "Perez" not in caplog.text
