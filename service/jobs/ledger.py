"""What was answered already, whatever version is promoted later; and how far each door has read."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.jobs.database import changing, cursors, ledger
from service.jobs.job import Stored


@dataclass(frozen=True, slots=True)
class Answered:
    """That a source instance was answered, and how."""

    version: str
    """Digest of the model version; empty where only the PACS knew of the answer."""
    results: tuple[Stored, ...]
    deleted: bool
    """A person took the results out of the PACS: they are not made again."""


class Ledger:
    """Source instances that were answered, by their SOP Instance UID."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def find(self, sop_instance_uid: str) -> Answered | None:
        """How the instance was answered, if it was."""
        with changing(self._engine) as connection:
            row = connection.execute(select(ledger).where(ledger.c.instance == sop_instance_uid)).one_or_none()
        if row is None:
            return None
        return Answered(row.version, tuple(Stored(*pair) for pair in json.loads(row.results)), row.deleted)

    def results_in(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of all results that are known of a study."""
        found = select(ledger.c.results).where(ledger.c.study == study_instance_uid)
        with changing(self._engine) as connection:
            return {uid for results in connection.execute(found).scalars() for _, uid in json.loads(results)}

    def record(
        self, sop_instance_uid: str, study_instance_uid: str, *, version: str, results: Sequence[Stored]
    ) -> None:
        """Keeps that the instance was answered."""
        stored = json.dumps([[result.role, result.sop_instance_uid] for result in results])
        values = {"study": study_instance_uid, "version": version, "results": stored, "at": self._clock()}
        _put(self._engine, ledger, {"instance": sop_instance_uid}, {**values, "deleted": False})

    def bury(self, sop_instance_uid: str) -> None:
        """Keeps that a person deleted the results of the instance."""
        with changing(self._engine) as connection:
            connection.execute(update(ledger).where(ledger.c.instance == sop_instance_uid).values(deleted=True))


class Cursor:
    """How far a door has read."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def read(self) -> str | None:
        """Where it stands; nothing if it never was kept."""
        with changing(self._engine) as connection:
            found: str | None = connection.execute(
                select(cursors.c.position).where(cursors.c.name == self._name)
            ).scalar_one_or_none()
        return found

    def write(self, position: str) -> None:
        """Keeps where it stands."""
        _put(self._engine, cursors, {"name": self._name}, {"position": position})


def _put(engine: Engine, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Changes the row of the key, or adds it; in SQL that every database knows."""
    (column, value), *_ = key.items()
    change = update(table).where(table.c[column] == value).values(**values)
    with changing(engine) as connection:
        if connection.execute(change).rowcount:
            return
    try:
        with changing(engine) as connection:
            connection.execute(insert(table).values(**key, **values))
    except IntegrityError:  # another service was faster
        with changing(engine) as connection:
            connection.execute(change)
