"""A queue on the disk, with a clock that a test moves; in SQLite and in PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.jobs.database import Database, open_database
from service.jobs.job import Order, Priority, Subject
from service.jobs.queue import JobQueue
from tests.postgresql import PostgreSQL, running_server


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Opens the same database anew each time, as another service would."""
    server = request.getfixturevalue("server") if request.param == "postgresql" else None
    opened = []

    def again() -> Database:
        opened.append(open_database(server.url() if server else None, tmp_path))
        return opened[-1]

    yield again
    for database in opened:
        database.close()
    if server:
        server.empty()


@pytest.fixture
def database(reopen: Callable[[], Database]) -> Database:
    """An empty database of jobs."""
    return reopen()


@pytest.fixture
def queue(database: Database, clock: Clock) -> JobQueue:
    """A queue in it."""
    return JobQueue(database, clock=clock)


def order(number: int = 1, priority: Priority = Priority.LIVE, *, explicit: bool = False) -> Order:
    """An order for one instance."""
    return Order(Subject("1.2", "1.2.3", f"1.2.3.{number}"), priority, explicit)


@pytest.fixture
def database_queue(database: Database) -> JobQueue:
    """A queue with the database's own clock."""
    return JobQueue(database)
