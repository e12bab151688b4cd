"""Doors of several services with one database: one looks for all."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from service.errors import PacsUnavailable
from service.jobs.database import open_database
from service.jobs.lease import Lease
from service.pacs.doors import Doors

HOLD_S = 0.2


class Door:
    """The doors of one service, and whether it has looked through them."""

    def __init__(self, folder: Path) -> None:
        self._database = open_database(None, folder)
        self.looked = Event()
        self.fails = False
        self.doors = Doors(Lease(self._database, "doors"), lambda: None, hold_s=HOLD_S)
        self.doors.open("changes", self._look)

    def _look(self) -> float:
        self.looked.set()
        if self.fails:
            raise PacsUnavailable("The PACS cannot be reached.")
        return 0.01

    def close(self) -> None:
        """Ends as a service does that is told to."""
        self.doors.close()
        self.doors.join()
        self._database.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Door, Door]]:
    """Those of two services, not begun."""
    with ExitStack() as stack:
        first, second = Door(tmp_path), Door(tmp_path)
        for door in (first, second):
            stack.callback(door.close)
        yield first, second


def test_one_looks_and_the_next_follows_when_it_ends(pair: tuple[Door, Door]) -> None:
    """Nobody does it twice; who stops leaves it to another at once."""
    first, second = pair
    first.doors.start()
    assert first.looked.wait(60)
    second.doors.start()
    for _ in range(20):
        first.looked.clear()
        assert first.looked.wait(60)
    assert not second.looked.is_set()

    first.close()
    assert second.looked.wait(60)


def test_who_cannot_look_leaves_it_to_another(pair: tuple[Door, Door]) -> None:
    """One whose way to the PACS is broken, though not that to the database, keeps nobody from seeing it."""
    first, second = pair
    first.fails = True
    first.doors.start()
    assert first.looked.wait(60)
    second.doors.start()

    assert second.looked.wait(60)


def test_a_service_alone_goes_on_when_it_can_look_again(tmp_path: Path) -> None:
    """It takes the lease again and again, as long as nobody else is there."""
    alone = Door(tmp_path)
    alone.fails = True
    alone.doors.start()
    for _ in range(2):
        alone.looked.clear()
        assert alone.looked.wait(60)
    alone.fails = False
    for _ in range(10):
        alone.looked.clear()
        assert alone.looked.wait(60)
    alone.close()
