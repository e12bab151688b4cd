"""The ledger and the cursors."""

from service.jobs.database import Database
from service.jobs.job import Stored
from service.jobs.ledger import Answered, Cursor, Ledger


def test_what_was_answered_is_known(database: Database) -> None:
    """An instance that was answered has its version and results; any other has none."""
    ledger = Ledger(database)
    ledger.record("1.2.3.4", "1.2", version="sha256:1", results=[Stored("SR", "2.25.1")])

    assert ledger.find("1.2.3.4") == Answered("sha256:1", (Stored("SR", "2.25.1"),), deleted=False)
    assert ledger.find("1.2.3.5") is None
    assert (ledger.results_in("1.2"), ledger.results_in("1.3")) == ({"2.25.1"}, set())


def test_an_answer_of_a_newer_version_takes_the_place(database: Database) -> None:
    """One row for an instance, the newest."""
    ledger = Ledger(database)
    for version in ("sha256:1", "sha256:2"):
        ledger.record("1.2.3.4", "1.2", version=version, results=[])

    assert ledger.find("1.2.3.4") == Answered("sha256:2", (), deleted=False)


def test_deleted_results_stay_deleted(database: Database) -> None:
    """A tombstone outlives the process."""
    Ledger(database).record("1.2.3.4", "1.2", version="sha256:1", results=[])
    Ledger(database).bury("1.2.3.4")

    assert Ledger(database).find("1.2.3.4") == Answered("sha256:1", (), deleted=True)


def test_a_cursor_is_kept(database: Database) -> None:
    """Each door reads on from where it stood."""
    cursor = Cursor(database, "changes")

    assert cursor.read() is None
    assert cursor.move(None, "7")
    assert cursor.move("7", "8")
    assert Cursor(database, "changes").read() == "8"
    assert Cursor(database, "sweep").read() is None


def test_a_cursor_that_another_service_moved_is_left(database: Database) -> None:
    """Whoever read an older position does not set it back."""
    cursor = Cursor(database, "changes")
    cursor.move(None, "7")
    cursor.move("7", "8")

    assert not cursor.move(None, "9")
    assert not cursor.move("7", "9")
    assert cursor.read() == "8"
