"""What was answered already, whatever version is promoted later; and how far each door has read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.jobs.database import Database, cursors, ledger
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

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    def find(self, sop_instance_uid: str) -> Answered | None:
        """How the instance was answered, if it was."""
        with self._database.changing() as connection:
            row = connection.execute(select(ledger).where(ledger.c.instance == sop_instance_uid)).one_or_none()
        if row is None:
            return None
        return Answered(row.version, tuple(Stored(*pair) for pair in json.loads(row.results)), row.deleted)

    def results_in(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of all results that are known of a study."""
        found = select(ledger.c.results).where(ledger.c.study == study_instance_uid)
        with self._database.changing() as connection:
            return {uid for results in connection.execute(found).scalars() for _, uid in json.loads(results)}

    def record(
        self, sop_instance_uid: str, study_instance_uid: str, *, version: str, results: Sequence[Stored]
    ) -> None:
        """Keeps that the instance was answered."""
        stored = json.dumps([[result.role, result.sop_instance_uid] for result in results])
        values = {"study": study_instance_uid, "version": version, "results": stored, "at": self._clock()}
        _put(self._database, ledger, {"instance": sop_instance_uid}, {**values, "deleted": False})

    def bury(self, sop_instance_uid: str) -> None:
        """Keeps that a person deleted the results of the instance."""
        with self._database.changing() as connection:
            connection.execute(update(ledger).where(ledger.c.instance == sop_instance_uid).values(deleted=True))


class Cursor:
    """How far a door has read."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    def read(self) -> str | None:
        """Where it stands; nothing if it never was kept."""
        with self._database.changing() as connection:
            found: str | None = connection.execute(
                select(cursors.c.position).where(cursors.c.name == self._name)
            ).scalar_one_or_none()
        return found

    def move(self, before: str | None, after: str) -> bool:
        """Keeps where it stands, unless another service has moved it meanwhile.

        Args:
            before: What was read.
            after: Where it is to stand.

        Returns:
            Whether it was kept.
        """
        moving = update(cursors).where(cursors.c.name == self._name, cursors.c.position == before)
        try:
            with self._database.changing() as connection:
                if before is not None:
                    return bool(connection.execute(moving.values(position=after)).rowcount)
                connection.execute(insert(cursors).values(name=self._name, position=after))
        except IntegrityError:  # another service was faster
            return False
        return True


def _put(database: Database, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Changes the row of the key, or adds it; in SQL that every database knows."""
    (column, value), *_ = key.items()
    change = update(table).where(table.c[column] == value).values(**values)
    with database.changing() as connection:
        if connection.execute(change).rowcount:
            return
    try:
        with database.changing() as connection:
            connection.execute(insert(table).values(**key, **values))
    except IntegrityError:  # another service was faster
        with database.changing() as connection:
            connection.execute(change)
