"""The ledger and the cursors."""

from sqlalchemy import Engine

from service.jobs.job import Stored
from service.jobs.ledger import Answered, Cursor, Ledger


def test_what_was_answered_is_known(engine: Engine) -> None:
    """An instance that was answered has its version and results; any other has none."""
    ledger = Ledger(engine)
    ledger.record("1.2.3.4", "1.2", version="sha256:1", results=[Stored("SR", "2.25.1")])

    assert ledger.find("1.2.3.4") == Answered("sha256:1", (Stored("SR", "2.25.1"),), deleted=False)
    assert ledger.find("1.2.3.5") is None
    assert (ledger.results_in("1.2"), ledger.results_in("1.3")) == ({"2.25.1"}, set())


def test_an_answer_of_a_newer_version_takes_the_place(engine: Engine) -> None:
    """One row for an instance, the newest."""
    ledger = Ledger(engine)
    for version in ("sha256:1", "sha256:2"):
        ledger.record("1.2.3.4", "1.2", version=version, results=[])

    assert ledger.find("1.2.3.4") == Answered("sha256:2", (), deleted=False)


def test_deleted_results_stay_deleted(engine: Engine) -> None:
    """A tombstone outlives the process."""
    Ledger(engine).record("1.2.3.4", "1.2", version="sha256:1", results=[])
    Ledger(engine).bury("1.2.3.4")

    assert Ledger(engine).find("1.2.3.4") == Answered("sha256:1", (), deleted=True)


def test_a_cursor_is_kept(engine: Engine) -> None:
    """Each door reads on from where it stood."""
    cursor = Cursor(engine, "changes")

    assert cursor.read() is None
    for position in ("7", "8"):
        cursor.write(position)
    assert Cursor(engine, "changes").read() == "8"
    assert Cursor(engine, "sweep").read() is None
