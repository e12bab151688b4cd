"""All that a PACS asks of the service: the queue of its images, the threads that answer them, and its doors."""

import logging

import httpx2

from service.audit.trail import Trail
from service.errors import JobsUnusable, PacsNotConfigured
from service.jobs.database import open_database
from service.jobs.job import Job, Order, State
from service.jobs.lease import Lease
from service.jobs.ledger import Cursor, Ledger
from service.jobs.queue import JobQueue
from service.jobs.runner import Runner
from service.metrics import Metrics
from service.pacs.answering import Analyse, Answering, Keeping
from service.pacs.changes import ChangeLog
from service.pacs.client import PacsClient
from service.pacs.doors import Doors
from service.pacs.sweep import Sweep
from service.pacs.walk import Step, Walk
from service.settings import Settings

_LOG = logging.getLogger("service.pacs")


class Connection:
    """One PACS, from its doors to the results in it."""

    def __init__(
        self, settings: Settings, metrics: Metrics, trail: Trail, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        """Opens the database of the jobs.

        Raises:
            PacsNotConfigured: No PACS is named.
            JobsUnusable: The database cannot be opened.
            SettingsInvalid: A certificate cannot be used.
        """
        self.settings = settings.pacs
        self._trail = trail
        if not self.settings.url:
            raise PacsNotConfigured("There is no PACS: set EFSNET_PACS_URL, as docs/pacs.md tells.")
        self.max_bytes = settings.max_dicom_bytes
        self.client = PacsClient(self.settings, metrics, max_bytes=self.max_bytes, transport=transport)
        url = settings.jobs_url.get_secret_value() if settings.jobs_url else None
        self._database = open_database(url, settings.state_folder)
        self.queue = JobQueue(self._database)
        self.ledger = Ledger(self._database)
        metrics.watch_jobs(self._counts)
        self._runner: Runner | None = None
        self._doors: Doors | None = None

    def start(self, analyse: Analyse) -> None:
        """Opens the doors, and begins to answer."""
        keeping = Keeping(self.queue, self.ledger, self._trail)
        answering = Answering(self.client, keeping, analyse, write=self.settings.write)
        self._runner = Runner(self.queue, answering, threads=self.settings.runners)
        self._runner.start()
        self._doors = Doors(Lease(self._database, "doors"), self._wake)
        days = self.settings.days
        if self.settings.orthanc_url:
            log = ChangeLog(self.client, self.queue, Cursor(self._database, "changes"), days=days)
            self._doors.open("changes", lambda: 0.0 if log.read() else self.settings.poll_s)
        sweep = Sweep(self.client, self.queue, days=days)

        def swept() -> float:
            if new := sweep.run():
                _LOG.info("door=sweep new=%d", new)
            return self.settings.sweep_s

        self._doors.open("sweep", swept)
        self._doors.start()

    def stop(self) -> None:
        """Closes the doors, and returns when the jobs that run have ended."""
        if self._doors:
            self._doors.close()
        if self._runner:
            self._runner.stop()
        if self._doors:
            self._doors.join()
        self.client.close()
        self._database.close()

    def order(self, order: Order) -> tuple[Job, bool]:
        """The job of an order, on the disk when this returns, and whether it is new.

        Raises:
            JobsUnusable: It cannot be kept.
        """
        added = self.queue.add(order)
        self._wake()
        return added

    def retry(self, job_id: str) -> Job:
        """Queues a job once more.

        Raises:
            JobUnknown: There is none of this id.
            JobNotInState: It runs or is done.
        """
        job = self.queue.retry(job_id)
        self._wake()
        return job

    def test(self) -> list[Step]:
        """How the connection does, step by step."""
        return Walk(self.client, write=self.settings.write, orthanc=bool(self.settings.orthanc_url)).steps()

    def _counts(self) -> dict[State, int]:
        try:
            return self.queue.counts()
        except JobsUnusable:
            return {}  # the rest of the metrics is told all the same

    def _wake(self) -> None:
        if self._runner:
            self._runner.wake()
