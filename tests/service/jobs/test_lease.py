"""What one of several services does for all."""

from service.jobs.database import Database
from service.jobs.lease import Lease
from service.jobs.queue import LEASE_S
from tests.service.jobs.conftest import Clock


def test_one_holds_it(database: Database, clock: Clock) -> None:
    """And keeps it for as long as it says so."""
    first, second = (Lease(database, "doors", clock=clock) for _ in range(2))
    for _ in range(3):
        assert first.hold()
        assert not second.hold()
        clock.now_s += LEASE_S - 1


def test_that_of_one_that_died_ends(database: Database, clock: Clock) -> None:
    """Another one takes it, and the dead one that wakes up does not have it any more."""
    first, second = (Lease(database, "doors", clock=clock) for _ in range(2))
    first.hold()
    clock.now_s += LEASE_S + 1

    assert second.hold()
    assert not first.hold()


def test_one_that_stops_leaves_it_at_once(database: Database, clock: Clock) -> None:
    """Nobody has to wait; and who does not hold it takes it from nobody."""
    first, second = (Lease(database, "doors", clock=clock) for _ in range(2))
    first.hold()
    second.release()
    assert not second.hold()
    first.release()

    assert second.hold()


def test_each_thing_has_its_own(database: Database, clock: Clock) -> None:
    """Who does one does not have to do the other."""
    assert Lease(database, "doors", clock=clock).hold()
    assert Lease(database, "others", clock=clock).hold()
