"""The door for an Orthanc: its change log, read on from a cursor that outlives everything."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from service.errors import InstanceGone, PacsUnavailable, UIDInvalid
from service.jobs.job import Order, Subject
from service.jobs.ledger import Cursor
from service.jobs.queue import JobQueue
from service.pacs.client import PacsClient

CHANGES = 100
"""Read at once."""

SERIES_REMEMBERED = 1000

_LOG = logging.getLogger("service.pacs")


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log was read."""

    last: int = 0
    """Number of the last change that was seen."""
    replay: bool = True
    """The log is read from its beginning, and its end was not reached yet."""

    @classmethod
    def parse(cls, kept: str | None) -> Self:
        """As it was kept; the beginning without one."""
        if kept is None:
            return cls()
        number, _, replay = kept.partition(" ")
        return cls(int(number), replay=bool(replay))

    def __str__(self) -> str:
        return f"{self.last} replay" if self.replay else str(self.last)


class ChangeLog:
    """Orders a job for each new ultrasound instance. What we store ourselves is of another modality."""

    def __init__(self, client: PacsClient, queue: JobQueue, cursor: Cursor, *, days: int) -> None:
        self._client = client
        self._queue = queue
        self._cursor = cursor
        self._days = days
        self._since = self._oldest()
        """When the oldest image was changed that a log which is read from its beginning is asked for. It stays as it
        was when this process first looked, whenever Orthanc first answers: what comes meanwhile is new."""
        self._series: dict[str, tuple[str, str] | None] = {}
        """Study and Series Instance UID of ultrasound series by Orthanc's own id, None of others."""

    def read(self) -> bool:
        """Reads on, and returns whether there was anything new.

        The cursor moves once all that was read is in the queue: what a crash comes between is read again. Where another
        service has moved it meanwhile, it stays where that has left it.

        Raises:
            PacsError: Orthanc does not answer, or not so.
        """
        kept = self._cursor.read()
        position = Position.parse(kept)
        page = self._client.orthanc("changes", since=position.last, limit=CHANGES)
        try:
            last, changes, done = int(page["Last"]), page["Changes"], bool(page.get("Done", True))
            if last < position.last:
                _LOG.warning("the change log begins anew: Orthanc's database was replaced")
                self._since = self._oldest()
                self._cursor.move(kept, str(Position()))
                return True
            for change in changes:
                self._order(change, replay=position.replay)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PacsUnavailable("Orthanc's change log cannot be read: check EFSNET_PACS_ORTHANC_URL.") from error
        after = Position(last, replay=position.replay and not done)
        if after != position:
            self._cursor.move(kept, str(after))
        return not done

    def _order(self, change: dict[str, Any], *, replay: bool) -> None:
        if change["ChangeType"] != "NewInstance" or (replay and self._is_old(change["Date"])):
            return
        try:
            instance = self._client.orthanc(f"instances/{change['ID']}")
            series = self._ultrasound(instance["ParentSeries"])
        except InstanceGone:
            return  # deleted since
        if series is None:
            return
        try:
            self._queue.add(Order(Subject(*series, instance["MainDicomTags"]["SOPInstanceUID"])))
        except UIDInvalid:
            _LOG.error("an instance is passed over: its UIDs are none")

    def _ultrasound(self, orthanc_id: str) -> tuple[str, str] | None:
        if orthanc_id not in self._series:
            series = self._client.orthanc(f"series/{orthanc_id}")
            uids = None
            if series["MainDicomTags"].get("Modality") == "US":
                study = self._client.orthanc(f"studies/{series['ParentStudy']}")
                uids = study["MainDicomTags"]["StudyInstanceUID"], series["MainDicomTags"]["SeriesInstanceUID"]
            while len(self._series) >= SERIES_REMEMBERED:
                del self._series[next(iter(self._series))]
            self._series[orthanc_id] = uids
        return self._series[orthanc_id]

    def _is_old(self, date: str) -> bool:
        """Whether it is for the backfill: a log that is read from its beginning may tell of many years."""
        return datetime.strptime(date, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) < self._since

    def _oldest(self) -> datetime:
        # Orthanc tells whole seconds.
        return datetime.now(UTC).replace(microsecond=0) - timedelta(days=self._days)
