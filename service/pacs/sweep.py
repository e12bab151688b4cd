"""The door that every DICOMweb PACS has: a search, now and then, for images that no event told of."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from service.errors import UIDInvalid
from service.jobs.job import Order, Subject
from service.jobs.queue import JobQueue
from service.pacs.answers import STUDY, value
from service.pacs.client import PacsClient

_LOG = logging.getLogger("service.pacs")


class Sweep:
    """Orders a job for each ultrasound instance of the studies of the last days. What is known already stays so."""

    def __init__(self, client: PacsClient, queue: JobQueue, *, days: int) -> None:
        self._client = client
        self._queue = queue
        self._days = days

    def run(self) -> int:
        """Searches once. Returns how many jobs are new.

        Raises:
            PacsError: The PACS does not answer, or not so.
        """
        today = datetime.now(UTC).astimezone()
        # One day more at both ends: the clocks of PACS, scanner and service may be of several time zones.
        first, last = today - timedelta(days=self._days + 1), today + timedelta(days=1)
        new = 0
        for study in studies(self._client, {"StudyDate": f"{first:%Y%m%d}-{last:%Y%m%d}"}):
            for subject in self._client.instances(study):
                new += self._queue.add(Order(subject))[1]
        return new


def studies(client: PacsClient, query: dict[str, str]) -> Iterator[str]:
    """Study Instance UIDs of the studies with ultrasound that match a QIDO-RS query, each once.

    One whose UID is none is told in the log, and keeps nobody from the others.

    Raises:
        PacsError: The PACS does not answer, or not so.
    """
    seen = set()
    for match in client.pages("studies", **{"ModalitiesInStudy": "US", **query}):
        study = value(match, STUDY)
        if study and study not in seen:
            seen.add(study)
            try:
                yield Subject(study).study_instance_uid
            except UIDInvalid:
                _LOG.error("a study is passed over: its UID is none")
