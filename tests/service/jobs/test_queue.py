"""The durable queue."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from service.errors import JobLost, JobNotInState, JobsUnusable, JobUnknown, UIDInvalid
from service.jobs.database import Database, open_database
from service.jobs.job import Job, Priority, Stored, Subject
from service.jobs.queue import LEASE_S, JobQueue
from tests.service.jobs.conftest import Clock, order


def taken(queue: JobQueue) -> Job:
    """The next job."""
    job = queue.take()
    assert job is not None
    return job


def test_an_order_is_one_job_however_often_it_comes(queue: JobQueue) -> None:
    """The second order for the same instance is the first one's job."""
    first, new = queue.add(order())
    second, new_again = queue.add(order())

    assert (new, new_again) == (True, False)
    assert first.id == second.id


def test_orders_that_come_at_the_same_moment_are_one_job(queue: JobQueue) -> None:
    """Of eight threads with the same order, one makes the job."""
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: queue.add(order()), range(8)))

    assert sum(new for _, new in added) == 1
    assert len({job.id for job, _ in added}) == 1


def test_an_accepted_job_is_on_the_disk(queue: JobQueue, reopen: Callable[[], Database], clock: Clock) -> None:
    """Another process finds the job."""
    job, _ = queue.add(order())

    assert JobQueue(reopen(), clock=clock).job(job.id) == job


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """In SQLite, which by itself would not wait in this mode."""
    with open_database(None, tmp_path).changing() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_each_job_is_taken_once(reopen: Callable[[], Database]) -> None:
    """By eight services that take at the same time, until there is none left."""
    queues = [JobQueue(reopen()) for _ in range(8)]
    queues[0].add_all(order(number) for number in range(40))

    def take_all(queue: JobQueue) -> list[str]:
        found = []
        while job := queue.take():
            found.append(job.id)
        return found

    with ThreadPoolExecutor(8) as pool:
        taken_by_each = list(pool.map(take_all, queues))

    assert [1] * 40 == list(Counter(job_id for ids in taken_by_each for job_id in ids).values())


def test_a_wish_of_a_person_survives_whatever_happens_to_the_job_meanwhile(reopen: Callable[[], Database]) -> None:
    """Explicit orders that come while services take and finish the job: afterwards it has been done with the wish."""
    adding, working = JobQueue(reopen()), JobQueue(reopen())
    over = Event()

    def work() -> list[bool]:
        explicit = []
        while not over.is_set() or adding.counts().get("queued"):
            if job := working.take():
                explicit.append(job.order.explicit)
                working.finish(job, [])
        return explicit

    with ThreadPoolExecutor(1) as pool:
        worked = pool.submit(work)
        for number in range(20):
            adding.add(order(number))
            adding.add(order(number, explicit=True))
        over.set()
        done = worked.result()

    assert {"done": 20} == adding.counts()
    assert 20 == sum(done)


def test_live_jobs_go_before_those_of_the_backfill(queue: JobQueue) -> None:
    """A job of a higher priority is taken first, though it came later."""
    queue.add(order(1, Priority.BACKFILL))
    queue.add(order(2))

    assert taken(queue).order == order(2)
    assert queue.take(lowest=Priority.LIVE) is None
    assert taken(queue).order == order(1, Priority.BACKFILL)


def test_a_waiting_backfill_job_that_comes_live_goes_first(queue: JobQueue) -> None:
    """An order of a higher priority lifts the job that waits."""
    queue.add(order(1, Priority.BACKFILL))
    queue.add(order(1))

    assert taken(queue).order.priority is Priority.LIVE


def test_a_job_is_held_by_one(queue: JobQueue, database: Database, clock: Clock) -> None:
    """What one service works at, no other takes."""
    queue.add(order())
    taken(queue)

    assert JobQueue(database, clock=clock).take() is None


def test_a_dead_service_loses_no_job(queue: JobQueue, database: Database, clock: Clock) -> None:
    """Once the lease of a service that is silent is over, another one goes on; what the dead one says is void."""
    queue.add(order())
    lost = taken(queue)
    clock.now_s += LEASE_S + 1
    other = JobQueue(database, clock=clock)
    found = other.take()
    queue.refuse(lost, "too late")

    assert found is not None
    assert (found.id, found.tries, other.job(lost.id).state) == (lost.id, 2, "running")


def test_a_lease_that_is_renewed_holds(queue: JobQueue, database: Database, clock: Clock) -> None:
    """A long job stays with whoever works at it."""
    queue.add(order())
    job = taken(queue)
    for _ in range(3):
        clock.now_s += LEASE_S - 1
        queue.renew([job.id])

    assert JobQueue(database, clock=clock).take() is None


def test_an_order_that_comes_while_its_job_runs_runs_it_again(queue: JobQueue) -> None:
    """An event is never dropped because its job was under way."""
    queue.add(order())
    job = taken(queue)
    queue.add(order())
    queue.finish(job, [])
    again = taken(queue)
    queue.finish(again, [])

    assert again.id == job.id
    assert queue.job(job.id).state == "done"


def test_what_is_done_stays_done(queue: JobQueue) -> None:
    """The same event once more changes nothing; results are kept."""
    queue.add(order())
    queue.finish(taken(queue), [Stored("SR", "2.25.1")], "found")
    job, _ = queue.add(order())

    assert (job.state, job.results, job.note) == ("done", (Stored("SR", "2.25.1"),), "found")


def test_a_person_can_ask_once_more(queue: JobQueue) -> None:
    """An explicit order queues what is done."""
    queue.add(order())
    queue.finish(taken(queue), [])
    job, _ = queue.add(order(explicit=True))

    assert job.state == "queued"
    assert job.order.explicit


def test_a_job_that_is_put_off_waits(queue: JobQueue, clock: Clock) -> None:
    """It can be taken when its time has come, not before."""
    queue.add(order())
    queue.put_off(taken(queue), 30, "the PACS is away")

    assert queue.take() is None
    clock.now_s += 31
    assert taken(queue).tries == 2


def test_a_retry_does_not_wait(queue: JobQueue) -> None:
    """A person who knows that the PACS is back need not wait for the next attempt."""
    job, _ = queue.add(order())
    queue.put_off(taken(queue), 30, "the PACS is away")
    queue.retry(job.id)

    assert taken(queue).id == job.id


def test_a_refused_job_is_seen_and_stays(queue: JobQueue) -> None:
    """It is in the list of failed jobs, no event brings it back, and a retry does."""
    job, _ = queue.add(order())
    queue.refuse(taken(queue), "the PACS refuses it")
    queue.add(order())

    assert [failed.note for failed in queue.newest(state="failed", limit=10)] == ["the PACS refuses it"]
    assert queue.take() is None
    assert queue.retry(job.id).state == "queued"


def test_a_waiting_job_can_be_cancelled(queue: JobQueue) -> None:
    """It is not taken any more, and only while it waits can it be cancelled."""
    job, _ = queue.add(order())

    assert queue.cancel(job.id).state == "cancelled"
    assert queue.take() is None
    with pytest.raises(JobNotInState, match="is cancelled"):
        queue.cancel(job.id)


def test_a_running_job_is_not_retried(queue: JobQueue) -> None:
    """What runs need not be queued."""
    job, _ = queue.add(order())
    taken(queue)

    with pytest.raises(JobNotInState, match="is running"):
        queue.retry(job.id)


def test_an_unknown_job_is_named_so(queue: JobQueue) -> None:
    """An id that was never given is an error."""
    with pytest.raises(JobUnknown):
        queue.job("0")


def test_the_version_of_the_first_attempt_is_kept(queue: JobQueue) -> None:
    """A further attempt learns which version the first one was for."""
    queue.add(order())
    job = taken(queue)
    queue.pin(job, "sha256:1")
    queue.put_off(job, 0, "")

    assert taken(queue).version == "sha256:1"


def test_the_version_of_an_answer_that_failed_is_kept_for_a_retry(queue: JobQueue) -> None:
    """Some of its results may be stored; an order after it is done begins anew."""
    job, _ = queue.add(order())
    attempt = taken(queue)
    queue.pin(attempt, "sha256:1")
    queue.refuse(attempt, "the PACS refuses the second")
    queue.retry(job.id)
    again = taken(queue)
    queue.finish(again, [])
    queue.add(order(explicit=True))

    assert (again.version, taken(queue).version) == ("sha256:1", None)


def test_whoever_lost_a_job_pins_nothing(queue: JobQueue, database: Database, clock: Clock) -> None:
    """Be it to another service, or to another thread of the same one."""
    queue.add(order())
    lost = taken(queue)
    clock.now_s += LEASE_S + 1
    also_lost = taken(queue)
    clock.now_s += LEASE_S + 1
    held = JobQueue(database, clock=clock).take()

    for attempt in (lost, also_lost):
        with pytest.raises(JobLost):
            queue.pin(attempt, "sha256:1")
    assert held is not None
    assert queue.job(held.id).version is None


def test_whoever_lost_a_job_goes_on_with_the_version_that_is_kept(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    """It makes the same results as whoever has the job by now; of another version it makes none."""
    queue.add(order())
    lost = taken(queue)
    clock.now_s += LEASE_S + 1
    other = JobQueue(database, clock=clock)
    other.pin(taken(other), "sha256:1")

    queue.pin(lost, "sha256:1")
    with pytest.raises(JobLost):
        queue.pin(lost, "sha256:2")


def test_jobs_are_counted_by_state(queue: JobQueue) -> None:
    """Of all, or of one priority."""
    queue.add_all([order(1), order(2), order(3, Priority.BACKFILL)])
    taken(queue)

    assert queue.counts() == {"queued": 2, "running": 1}
    assert queue.counts(Priority.BACKFILL) == {"queued": 1}


@pytest.mark.parametrize(
    "uids",
    [("",), ("1.2", None, "1.2.3"), ("Perez^Ana",), ("1." + "2" * 63,), ("1.02",), ("1.2\n",)],
)
def test_what_is_no_uid_makes_no_subject(uids: tuple[str, ...]) -> None:
    """Only UIDs get into a job."""
    with pytest.raises(UIDInvalid):
        Subject(*uids)


def test_a_database_that_cannot_be_opened_is_named_so(tmp_path: Path) -> None:
    """Nothing of the address, which may have a password, is told."""
    with pytest.raises(JobsUnusable, match="EFSNET_JOBS_URL"):
        open_database("nonsense://user:secret@host", tmp_path)
    with pytest.raises(JobsUnusable, match="PostgreSQL is, and SQLite"):
        open_database("mysql://user:secret@host/jobs", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(JobsUnusable, match="EFSNET_STATE"):
        open_database(None, tmp_path / "file")
    with pytest.raises(JobsUnusable, match="OperationalError"):
        open_database("sqlite:////nowhere/jobs.sqlite", tmp_path)
