"""What one of several services does for all of them, for as long as it lives."""

import uuid
from collections.abc import Callable

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from service.jobs.database import Database, leases
from service.jobs.queue import LEASE_S


class Lease:
    """Held by one service at a time. Of one that died it ends by itself.

    Args:
        database: That the services share.
        name: Of what is done.
        clock: Seconds since 1970; by default the database's own.
    """

    def __init__(self, database: Database, name: str, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._name = name
        self._clock = clock or database.now
        self._owner = uuid.uuid4().hex

    def hold(self) -> bool:
        """Takes it or keeps it, for `LEASE_S` seconds from now. Returns whether that could be.

        Raises:
            JobsUnusable: The database cannot be used.
        """
        now = self._clock()
        free = (leases.c.owner == self._owner) | (leases.c.leased_until < now)
        held = {"owner": self._owner, "leased_until": now + LEASE_S}
        try:
            with self._database.changing() as connection:
                if connection.execute(update(leases).where(leases.c.name == self._name, free).values(held)).rowcount:
                    return True
                connection.execute(insert(leases).values(name=self._name, **held))
        except IntegrityError:  # another one holds it
            return False
        return True

    def release(self) -> None:
        """Leaves it to whoever comes first.

        Raises:
            JobsUnusable: The database cannot be used.
        """
        mine = update(leases).where(leases.c.name == self._name, leases.c.owner == self._owner)
        with self._database.changing() as connection:
            connection.execute(mine.values(leased_until=0.0))
