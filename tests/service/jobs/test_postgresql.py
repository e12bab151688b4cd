"""What befalls a database that is a server: it is away, comes back, dies at work, and has an administrator."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from service.errors import JobsUnusable
from service.jobs.database import open_database
from service.jobs.job import Job
from service.jobs.queue import JobQueue
from service.jobs.runner import Outcome, Runner
from tests.postgresql import PASSWORD, PostgreSQL
from tests.service.jobs.conftest import order

pytestmark = pytest.mark.system


@pytest.fixture
def own_server(server: PostgreSQL) -> Iterator[PostgreSQL]:
    """The server, for tests that end it; it runs and is empty when they are over."""
    yield server
    server.kill()
    server.start()
    server.empty()


@pytest.mark.requirement("OPS-11")
def test_what_was_accepted_survives_the_death_of_the_server(own_server: PostgreSQL, tmp_path: Path) -> None:
    """Four clients add jobs until it dies: each that was told of is there when it is back, and the clients go on."""
    database = open_database(own_server.url(), tmp_path)
    queue, dead = JobQueue(database), Event()

    def add_until_dead(client: int) -> list[str]:
        accepted = []
        for number in range(100_000):
            try:
                job, _ = queue.add(order(client * 1_000_000 + number))
            except JobsUnusable:
                break
            accepted.append(job.id)
            if len(accepted) == 20:
                dead.set()
        return accepted

    with ThreadPoolExecutor(4) as pool:
        adding = [pool.submit(add_until_dead, client) for client in range(4)]
        assert dead.wait(60)
        own_server.kill()
        accepted = {job_id for each in adding for job_id in each.result()}
    own_server.start()

    assert accepted <= {job.id for job in queue.newest(state="queued", limit=1_000_000)}
    assert queue.add(order(9_999_999))[1]
    database.close()


def test_a_server_that_is_away_when_a_service_starts_is_waited_for(
    own_server: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, orders are refused for now, and are taken as soon as it is there."""
    own_server.kill()
    database = open_database(own_server.url(), tmp_path)
    queue = JobQueue(database)
    with pytest.raises(JobsUnusable, match="OperationalError"):
        queue.add(order())
    own_server.start()

    assert queue.add(order())[1]
    assert "It is tried again." in caplog.text
    database.close()


def test_no_job_is_lost_by_services_whose_server_goes_away_at_work(own_server: PostgreSQL, tmp_path: Path) -> None:
    """Threads that do jobs go on when it is back: all are done, also those that were under way."""
    database = open_database(own_server.url(), tmp_path)
    queue, halfway = JobQueue(database), Event()
    queue.add_all(order(number) for number in range(40))

    def work(_: Job) -> Outcome:
        time.sleep(0.05)
        if queue.counts().get("done", 0) >= 10:
            halfway.set()
        return Outcome()

    runner = Runner(queue, work, threads=2)
    runner.start()
    assert halfway.wait(60)
    own_server.kill()
    own_server.start()
    end = time.monotonic() + 120
    while queue.counts() != {"done": 40} and time.monotonic() < end:
        time.sleep(0.2)
    runner.stop()

    assert {"done": 40} == queue.counts()
    database.close()


def test_a_wrong_password_is_told_and_not_repeated(
    server: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody will mend it; neither the log nor the error has it, nor the right one."""
    database = open_database(server.url(password="Wrong-secret"), tmp_path)  # noqa: S106
    with pytest.raises(JobsUnusable) as told:
        database.now()

    words = caplog.text + str(told.value)
    assert "cannot be used" in words
    assert not {"Wrong-secret", PASSWORD} & set(words.split())
    assert "secret" not in words.lower()
    database.close()


def test_services_that_start_together_make_the_tables_once(server: PostgreSQL, tmp_path: Path) -> None:
    """None of them fails because another one is making them."""
    with ThreadPoolExecutor(8) as pool:
        databases = list(pool.map(lambda _: open_database(server.url(), tmp_path), range(8)))
    added = [JobQueue(database).add(order())[1] for database in databases]

    assert 1 == sum(added)
    for database in databases:
        database.close()
    server.empty()


def test_leases_go_by_the_clock_of_the_database(server: PostgreSQL, tmp_path: Path) -> None:
    """Machines whose clocks differ take no job from one another: here that of the server stands in the year 2001."""
    server.execute(
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT to_timestamp(1000000000)'"
    )
    # PostgreSQL's own function comes first, unless the path says otherwise.
    database = open_database(server.url(query="options=-csearch_path%3Dpublic,pg_catalog"), tmp_path)
    job, _ = JobQueue(database).add(order())

    assert 1_000_000_000 == job.created_at.timestamp()
    database.close()
    server.empty()


def test_commits_wait_for_the_disk_whatever_is_the_servers_default(server: PostgreSQL, tmp_path: Path) -> None:
    """An administrator may have chosen speed for others."""
    server.execute("ALTER ROLE efsnet SET synchronous_commit = off")
    database = open_database(server.url(), tmp_path)
    with database.changing() as connection:
        assert "on" == connection.execute(text("SHOW synchronous_commit")).scalar()
    server.execute("ALTER ROLE efsnet RESET synchronous_commit")
    database.close()
    server.empty()


def test_a_lock_that_is_never_let_go_of_holds_up_nobody_for_good(server: PostgreSQL, tmp_path: Path) -> None:
    """A statement ends after its time, which the address may set, and says so."""
    holding = open_database(server.url(), tmp_path)
    waiting = open_database(server.url(query="options=-clock_timeout%3D100ms"), tmp_path)
    with holding.changing() as connection:
        connection.execute(text("LOCK TABLE jobs"))
        with pytest.raises(JobsUnusable, match="55P03"):
            JobQueue(waiting).add(order())

    assert JobQueue(waiting).add(order())[1]
    for database in (holding, waiting):
        database.close()
    server.empty()
