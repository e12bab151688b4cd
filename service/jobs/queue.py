"""The durable queue, which several services may share.

Whoever takes a job holds it by a lease, and the lease of one that died ends by itself.

| event | queued | running | done | failed, cancelled |
|---|---|---|---|---|
| ordered | stays | runs again after | stays; queued if asked for by a person | stays |
| taken | running | – | – | – |
| finished | – | done, or queued if ordered meanwhile | – | – |
| put off | – | queued, due later | – | – |
| refused | – | failed | – | – |
| lease over | – | may be taken | – | – |
| retried | – | – | – | queued |
| cancelled | cancelled | – | – | – |
"""

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, and_, case, func, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.errors import JobLost, JobNotInState, JobUnknown
from service.jobs.database import Database, jobs
from service.jobs.job import Job, Order, Priority, State, Stored, Subject

LEASE_S = 15.0
"""How long a job is held by a service that says nothing: after a crash, it goes on so much later."""


class JobQueue:
    """The jobs of a database. All times come from `clock`, seconds since 1970; by default the database's own."""

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = clock or database.now
        self.owner = uuid.uuid4().hex
        """Who holds the jobs that are taken here."""

    def add(self, order: Order) -> tuple[Job, bool]:
        """The job of an order, on the disk when this returns, and whether it was not there before.

        An order that is repeated is the same job; while it runs, it will run once more.
        """
        subject, now = order.subject, self._clock()
        row = {
            "id": uuid.uuid4().hex,
            **_key(subject),
            "priority": order.priority,
            "explicit": order.explicit,
            "reanalyse": order.reanalyse,
            "state": "queued",
            "tries": 0,
            "again": False,
            "note": "",
            "version": None,
            "results": "[]",
            "owner": None,
            "leased_until": 0.0,
            "created_at": now,
            "changed_at": now,
            "due_at": now,
        }
        try:
            with self._database.changing() as connection:
                connection.execute(insert(jobs).values(row))
        except IntegrityError:
            return self._repeat(order), False
        return self.job(str(row["id"])), True

    def add_all(self, orders: Iterable[Order]) -> None:
        """Adds each."""
        for order in orders:
            self.add(order)

    def take(self, *, lowest: Priority = Priority.BACKFILL) -> Job | None:
        """The next job that is due, of this priority or a higher one, held from now on; none if there is none."""
        now = self._clock()
        ready = or_(
            and_(jobs.c.state == "queued", jobs.c.due_at <= now),
            and_(jobs.c.state == "running", jobs.c.leased_until < now),
        )
        # Of several who look at the same time, each finds another one: on PostgreSQL a row that one has locked is
        # passed over by the others, and SQLite has one writer at a time, who knows what the one before has written.
        found = (
            select(jobs.c.id)
            .where(ready, jobs.c.priority <= lowest)
            .order_by(jobs.c.priority, jobs.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        held = {"state": "running", "owner": self.owner, "leased_until": now + LEASE_S, "again": False}
        # The first attempt at an order takes the version of its day; further ones keep that.
        version = case((jobs.c.tries == 0, null()), else_=jobs.c.version)
        taking = update(jobs).where(jobs.c.id == found.scalar_subquery())
        taking = taking.values(**held, version=version, tries=jobs.c.tries + 1, changed_at=now)
        with self._database.changing() as connection:
            row = connection.execute(taking.returning(jobs)).one_or_none()
        return _job(row) if row else None

    def renew(self, job_ids: Collection[str]) -> None:
        """Holds on to jobs that were taken here."""
        until = self._clock() + LEASE_S
        with self._database.changing() as connection:
            connection.execute(update(jobs).where(jobs.c.id.in_(job_ids), *self._is_held()).values(leased_until=until))

    def pin(self, job: Job, version: str) -> None:
        """Keeps which model version answers the job, for any further attempt.

        Raises:
            JobLost: Another service may have it by now, and has not kept the same version.
        """
        if not self._set(job, version=version) and self.job(job.id).version != version:
            raise JobLost("The job took so long, or stood still, that another service may have it.")

    def finish(self, job: Job, results: Sequence[Stored], note: str = "") -> None:
        """Ends a job, unless it was ordered once more while it ran."""
        stored = json.dumps([[result.role, result.sop_instance_uid] for result in results])
        after = case((jobs.c.again, "queued"), else_="done")
        self._set(job, owner=None, results=stored, note=note, state=after, tries=0, due_at=self._clock())

    def put_off(self, job: Job, seconds: float, note: str) -> None:
        """Tries a job again later."""
        now = self._clock()
        self._set(job, owner=None, state="queued", due_at=now + seconds, note=note)

    def refuse(self, job: Job, note: str) -> None:
        """Puts a job into the list of those that failed."""
        self._set(job, owner=None, state="failed", note=note)

    def retry(self, job_id: str) -> Job:
        """Queues a job that failed or was cancelled, or one that waits for a later attempt, for now.

        Raises:
            JobUnknown: There is none of this id.
            JobNotInState: It runs or is done.
        """
        # One attempt stays counted: what the last ones have stored is of a version that the next has to keep.
        tries = case((jobs.c.tries > 0, 1), else_=0)
        now = self._clock()
        return self._change(job_id, ("failed", "cancelled", "queued"), state="queued", tries=tries, due_at=now)

    def cancel(self, job_id: str) -> Job:
        """Takes a job that waits out of the queue.

        Raises:
            JobUnknown: There is none of this id.
            JobNotInState: It runs, or ended already.
        """
        return self._change(job_id, ("queued",), state="cancelled")

    def job(self, job_id: str) -> Job:
        """The job of this id.

        Raises:
            JobUnknown: There is none.
        """
        with self._database.changing() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise JobUnknown("There is no such job: GET /v1/jobs lists them.")
        return _job(row)

    def newest(self, *, state: State | None, limit: int) -> list[Job]:
        """The jobs that changed last, the last one first."""
        found = select(jobs).order_by(jobs.c.changed_at.desc(), jobs.c.id).limit(limit)
        if state is not None:
            found = found.where(jobs.c.state == state)
        with self._database.changing() as connection:
            return [_job(row) for row in connection.execute(found)]

    def counts(self, priority: Priority | None = None) -> dict[State, int]:
        """How many jobs there are in each state that has any."""
        counted = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        if priority is not None:
            counted = counted.where(jobs.c.priority == priority)
        with self._database.changing() as connection:
            return {row[0]: row[1] for row in connection.execute(counted)}

    def _repeat(self, order: Order) -> Job:
        """The job that is there already, made to serve one more order."""
        where = [jobs.c[name] == value for name, value in _key(order.subject).items()]
        flags: dict[str, Any] = {"explicit": order.explicit, "reanalyse": order.reanalyse}
        more = {name: True for name, wanted in flags.items() if wanted}
        now = self._clock()
        queued = {"state": "queued", "due_at": now, "changed_at": now, "priority": order.priority}
        with self._database.changing() as connection:
            # Held until all is changed: each change is for one state, and a service might lead from one to the next.
            connection.execute(select(jobs.c.id).where(*where).with_for_update())
            sooner = update(jobs).where(*where, jobs.c.state == "queued", jobs.c.priority > order.priority)
            connection.execute(sooner.values(priority=order.priority))
            connection.execute(update(jobs).where(*where, jobs.c.state == "running").values(again=True, **more))
            if more:
                connection.execute(update(jobs).where(*where, jobs.c.state == "queued").values(**more))
                connection.execute(update(jobs).where(*where, jobs.c.state == "done").values(**flags, **queued))
            row = connection.execute(select(jobs).where(*where)).one()
        return _job(row)

    def _set(self, job: Job, **values: Any) -> bool:
        """Changes a job that is still held by this attempt, and returns whether it is: else it is another one's."""
        mine = update(jobs).where(jobs.c.id == job.id, jobs.c.tries == job.tries, *self._is_held())
        with self._database.changing() as connection:
            return bool(connection.execute(mine.values(**values, changed_at=self._clock())).rowcount)

    def _is_held(self) -> tuple[Any, ...]:
        return jobs.c.owner == self.owner, jobs.c.state == "running"

    def _change(self, job_id: str, states: Sequence[State], **values: Any) -> Job:
        with self._database.changing() as connection:
            change = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(states))
            changed = connection.execute(change.values(**values, changed_at=self._clock())).rowcount
        job = self.job(job_id)
        if not changed:
            raise JobNotInState(f"The job is {job.state}: this can be done while it is {' or '.join(states)}.")
        return job


def _key(subject: Subject) -> dict[str, str]:
    return {
        "study": subject.study_instance_uid,
        "series": subject.series_instance_uid or "",
        "instance": subject.sop_instance_uid or "",
    }


def _job(row: Row[Any]) -> Job:
    subject = Subject(row.study, row.series or None, row.instance or None)
    return Job(
        id=row.id,
        order=Order(subject, Priority(row.priority), row.explicit, row.reanalyse),
        state=row.state,
        tries=row.tries,
        note=row.note,
        version=row.version,
        results=tuple(Stored(*pair) for pair in json.loads(row.results)),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        changed_at=datetime.fromtimestamp(row.changed_at, UTC),
        due_at=datetime.fromtimestamp(row.due_at, UTC),
    )
