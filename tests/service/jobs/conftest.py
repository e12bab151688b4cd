"""A queue on the disk, with a clock that a test moves."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.jobs.database import open_database
from service.jobs.job import Order, Priority, Subject
from service.jobs.queue import JobQueue


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


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An empty database of jobs."""
    return open_database(None, tmp_path)


@pytest.fixture
def queue(engine: Engine, clock: Clock) -> JobQueue:
    """A queue in it."""
    return JobQueue(engine, clock=clock)


def order(number: int = 1, priority: Priority = Priority.LIVE, *, explicit: bool = False) -> Order:
    """An order for one instance."""
    return Order(Subject("1.2", "1.2.3", f"1.2.3.{number}"), priority, explicit)


@pytest.fixture
def engine_queue(engine: Engine) -> JobQueue:
    """A queue with the real clock."""
    return JobQueue(engine)
