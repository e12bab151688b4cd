"""The tables of the jobs, in SQLite or in whatever database `EFSNET_JOBS_URL` names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.errors import JobsUnusable

BUSY_S = 30
"""How long a writer waits for another one."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    # Empty, not null, where the job is of more than an instance: nulls are never equal, and the three must be unique.
    Column("study", String(64), nullable=False),
    Column("series", String(64), nullable=False),
    Column("instance", String(64), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("explicit", Boolean, nullable=False),
    Column("reanalyse", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("again", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    Column("version", String(80)),
    Column("results", Text, nullable=False),
    Column("owner", String(64)),
    Column("leased_until", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    UniqueConstraint("study", "series", "instance"),
    Index("jobs_next", "state", "priority", "due_at"),
    Index("jobs_newest", "changed_at"),
)
"""One row for each study, series or instance that was asked for. Times are seconds since 1970 in UTC."""

ledger = Table(
    "ledger",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("study", String(64), nullable=False),
    Column("version", String(80), nullable=False),
    Column("results", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("at", Float, nullable=False),
    Index("ledger_study", "study"),
)
"""Every source instance that was answered; `deleted` where a person took the results out of the PACS."""

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("position", Text, nullable=False),
)
"""How far each door has read."""


def open_database(url: str | None, folder: Path) -> Engine:
    """The database of this address, with its tables; by default a file in the folder.

    What is committed is on the disk: a job that was accepted outlives a power cut.

    Raises:
        JobsUnusable: It cannot be opened.
    """
    if url is None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JobsUnusable(f"{folder} cannot be made: {error.strerror}. EFSNET_STATE names another.") from error
        url = f"sqlite:///{folder / 'jobs.sqlite'}"
    try:
        engine = create_engine(url)
    except (SQLAlchemyError, ImportError) as error:
        # Without the error's own text, which may quote the password.
        raise JobsUnusable("EFSNET_JOBS_URL names no database that can be used here.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    with changing(engine) as connection:
        metadata.create_all(connection)
    return engine


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A transaction, on the disk once it is left.

    Raises:
        JobsUnusable: The database cannot be read or written.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise JobsUnusable(f"The database of the jobs cannot be used ({type(error).__name__}).") from error


def _configure_sqlite(connection: Any, _record: object) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {setting}")
