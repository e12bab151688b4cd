"""The tables of the jobs, in a file of SQLite or in the PostgreSQL that `EFSNET_JOBS_URL` names."""

import logging
import threading
import time
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
    func,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from service.errors import JobsUnusable

BUSY_S = 30
"""How long a writer waits for another one, and a statement at most."""

CONNECT_S = 5
"""In which a server must take a connection."""

SILENT_S = 15
"""After which a server that says nothing at all, not even that it is there, is taken for gone."""

SERVER_KNOBS = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": SILENT_S // 3,
    "keepalives_interval": SILENT_S // 3,
    "keepalives_count": 2,
    "tcp_user_timeout": SILENT_S * 1000,
    "application_name": "efsnet",
    # What is committed is on the server's disk, however its administrator has set the default.
    "options": f"-c synchronous_commit=on -c statement_timeout={BUSY_S}s -c lock_timeout={BUSY_S}s "
    f"-c idle_in_transaction_session_timeout={BUSY_S}s",
}
"""How a PostgreSQL is talked to (libpq's names); what `EFSNET_JOBS_URL` says takes precedence."""

TABLES_LOCK = 0x4546534E  # "EFSN"
"""Of PostgreSQL's advisory locks, which are numbers."""

_LOG = logging.getLogger("service.jobs")

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

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("leased_until", Float, nullable=False),
)
"""Who does what only one service need do."""


class Database:
    """The tables, which are made when they are reached for the first time.

    Args:
        engine: Of SQLite or PostgreSQL.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_server = engine.dialect.name != "sqlite"
        """Whether machines share it, and it may be away."""
        self._lock = threading.Lock()
        self._made = False

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction, on the disk once it is left.

        Raises:
            JobsUnusable: The database cannot be read or written.
        """
        try:
            self._make_tables()
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise JobsUnusable(f"The database of the jobs cannot be used ({_kind(error)}).") from error

    def now(self) -> float:
        """Seconds since 1970: by a server's clock, since those of the machines that share it may differ.

        Raises:
            JobsUnusable: It cannot be asked.
        """
        if not self.is_server:
            return time.time()
        with self.changing() as connection:
            return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def close(self) -> None:
        """Lets go of all connections."""
        self._engine.dispose()

    def _make_tables(self) -> None:
        if self._made:
            return
        with self._lock:
            if not self._made:
                with self._engine.begin() as connection:
                    if self.is_server:
                        # Of several services that start at the same time, one makes them. The number is ours alone.
                        connection.execute(select(func.pg_advisory_xact_lock(TABLES_LOCK)))
                    metadata.create_all(connection)
                self._made = True


def open_database(url: str | None, folder: Path) -> Database:
    """The database of this address; by default a file in the folder.

    What is committed is on the disk: a job that was accepted outlives a power cut. A server that is away is no error:
    it is waited for by whoever needs it.

    Raises:
        JobsUnusable: The file cannot be opened, or the address is none of SQLite or PostgreSQL.
    """
    if url is None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JobsUnusable(f"{folder} cannot be made: {error.strerror}. EFSNET_STATE names another.") from error
        url = f"sqlite:///{folder / 'jobs.sqlite'}"
    database = Database(_engine(url))
    try:
        with database.changing():
            pass
    except JobsUnusable as error:
        if not database.is_server:
            raise
        _LOG.error("%s It is tried again.", error)
    return database


def _engine(url: str) -> Engine:
    try:
        named = make_url(url)
        kind = named.get_backend_name()
        if kind == "postgresql":
            knobs = {name: value for name, value in SERVER_KNOBS.items() if name not in named.query}
            # psycopg, whatever driver the address names or leaves out: it is the one that is tried.
            return create_engine(
                named.set(drivername="postgresql+psycopg"),
                connect_args=knobs,
                pool_pre_ping=True,
                pool_timeout=BUSY_S,
                hide_parameters=True,
                use_native_hstore=False,  # or each connection begins with a question about what is not used
            )
        if kind == "sqlite":
            engine = create_engine(named, hide_parameters=True)
            event.listen(engine, "connect", _configure_sqlite)
            return engine
    except ModuleNotFoundError as error:
        raise JobsUnusable(
            "EFSNET_JOBS_URL names a PostgreSQL: `scripts/setup postgresql` installs its driver."
        ) from error
    except (SQLAlchemyError, ImportError) as error:
        # Without the error's own text, which may quote the password.
        raise JobsUnusable("EFSNET_JOBS_URL names no database that can be used here.") from error
    raise JobsUnusable("EFSNET_JOBS_URL names no database that can be used here: PostgreSQL is, and SQLite.")


def _kind(error: SQLAlchemyError) -> str:
    """What went wrong, without the error's own text, which may quote the password or a row."""
    code = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def _configure_sqlite(connection: Any, _record: object) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {setting}")
