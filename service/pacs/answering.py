"""The use case: an instance of the PACS is answered in its study, once, whatever is killed or delivered when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.audit.act import Act
from service.audit.trail import Trail
from service.dicom.results.context import MANUFACTURER as OURS
from service.errors import InstanceGone, PacsRefused, PacsUnavailable
from service.jobs.job import Job, Order, Stored, Subject
from service.jobs.ledger import Ledger
from service.jobs.queue import JobQueue
from service.jobs.runner import Outcome
from service.pacs.answers import (
    INSTANCE,
    MANUFACTURER,
    MODALITY,
    REFERENCED_INSTANCE,
    SERIES,
    SERIES_NUMBER,
    Match,
    value,
    values,
)
from service.pacs.client import PacsClient

REPORT_SERIES_NUMBER = "9002"
"""Of the structured reports that are ours."""

OWN_UIDS = "2.25."
"""How the UIDs of all that is ours begin, and those of many others."""


@dataclass(frozen=True, slots=True)
class Result:
    """An object that answers an instance."""

    role: str
    """SEG, SR, SC or PR."""
    sop_instance_uid: str
    content: bytes
    """The DICOM file."""

    @property
    def stored(self) -> Stored:
        """What is kept of it."""
        return Stored(self.role, self.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class Answer:
    """All that answers an instance."""

    version: str
    """Digest of the model version."""
    about: tuple[str, str]
    """Study and SOP Instance UID of what was analysed."""
    results: tuple[Result, ...]
    """One SR always; a SEG where something was found."""

    def __post_init__(self) -> None:
        if [result.role for result in self.results].count("SR") != 1:
            raise ValueError("an answer has one SR, which marks its instance as answered")

    @property
    def in_order(self) -> list[Result]:
        """As they are stored: the SR last, so that it is there only if all else is."""
        return sorted(self.results, key=lambda result: result.role == "SR")


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where it is kept what there is to do, what was done, and by what."""

    queue: JobQueue
    ledger: Ledger
    trail: Trail


class Analyse(Protocol):
    """What makes an answer of the bytes of an instance."""

    def __call__(self, data: bytes, version: str | None) -> Answer:
        """The answer of the version of this digest, or of the one that answers by default.

        Raises:
            NotAnalysable: It is no image that can be segmented.
        """
        ...


class Answering:
    """Does jobs: the work that a runner is given."""

    def __init__(self, client: PacsClient, keeping: Keeping, analyse: Analyse, *, write: bool) -> None:
        self._client = client
        self._queue = keeping.queue
        self._ledger = keeping.ledger
        self._trail = keeping.trail
        self._analyse = analyse
        self._write = write

    def __call__(self, job: Job) -> Outcome:
        """Answers the instance of a job; for a study or series, adds a job for each of its instances.

        Raises:
            PacsError: The PACS did not do its part.
            NotAnalysable: It is no image that can be segmented.
        """
        subject = job.order.subject
        if subject.sop_instance_uid is None:
            return self._spread(job.order)
        return self._known(job.order, subject.sop_instance_uid) or self._answered(job, subject.sop_instance_uid)

    def _spread(self, order: Order) -> Outcome:
        subject = order.subject
        since = time.perf_counter()
        found = self._client.instances(subject.study_instance_uid, subject.series_instance_uid)
        searched_s = time.perf_counter() - since
        if not found:
            self._require_study(subject)
        for instance in found:
            self._queue.add(Order(instance, order.priority, order.explicit, order.reanalyse))
        return Outcome(note=f"{len(found)} ultrasound instances queued.", rest_s=searched_s)

    def _known(self, order: Order, source: str) -> Outcome | None:
        """What was answered before, by whatever version: it is not answered again, unless that is asked for."""
        study = order.subject.study_instance_uid
        answered = self._ledger.find(source)
        if answered is None:
            if order.reanalyse or not (found := self._found_in_pacs(study, source)):
                return None
            return Outcome(found, "Answered before, as its study shows.")
        if not order.reanalyse:
            return Outcome(answered.results, "Answered before.")
        if not answered.deleted:
            # A PACS that starts, or has lost the whole study, holds nothing: that is no person's decision.
            if self._hold_any(study, answered.results) or not self._client.holds(study, source):
                return None
            self._ledger.bury(source)
        return Outcome((), "Its results were deleted by a person, and are not made again.")

    def _answered(self, job: Job, source: str) -> Outcome:
        subject = job.order.subject
        since = time.perf_counter()
        data = self._retrieved(subject)
        pacs_s = time.perf_counter() - since
        answer = self._analyse(data, job.version)
        if answer.about != (subject.study_instance_uid, source):
            raise PacsRefused("The PACS sent another instance than it was asked for, or one of another study.")
        # From here on something may be stored: whoever goes on after a crash does so with the same version.
        self._queue.pin(job, answer.version)
        if not self._write:
            return Outcome((), f"Dry run: {_roles(answer.in_order)} made, nothing stored.", rest_s=pacs_s)
        since = time.perf_counter()
        for result in answer.in_order:
            self._store(subject.study_instance_uid, result)
        stored = tuple(result.stored for result in answer.in_order)
        self._trail.record(_stored(job, answer))
        self._ledger.record(source, subject.study_instance_uid, version=answer.version, results=stored)
        return Outcome(stored, rest_s=pacs_s + time.perf_counter() - since)

    def _retrieved(self, subject: Subject) -> bytes:
        try:
            return self._client.retrieve(subject)
        except InstanceGone:
            self._require_study(subject)
            raise

    def _require_study(self, subject: Subject) -> None:
        """Raises if the PACS does not hold the study: it may be told of early, or gone.

        A PACS that starts, or another server at its address, holds nothing at all, and knows no searches: that passes.
        """
        if not self._client.search("studies", StudyInstanceUID=subject.study_instance_uid, limit=1):
            raise InstanceGone("The PACS does not hold the study.")

    def _store(self, study: str, result: Result) -> None:
        """Stores a result, and returns once the PACS says that it holds it, or is found to."""
        uid = result.sop_instance_uid
        try:
            if uid in self._client.store(study, result.content) or self._client.holds(study, uid):
                return
        except PacsRefused:  # as of what is there already, from an attempt that broke off
            if not self._client.holds(study, uid):
                raise
            return
        raise PacsUnavailable("The PACS does not say that it stored it, and does not find it: check EFSNET_PACS_URL.")

    def _found_in_pacs(self, study: str, source: str) -> tuple[Stored, ...]:
        """The SR of ours about this instance that its study holds, for a ledger that was lost or is another one's."""
        known = self._ledger.results_in(study)
        for match in self._client.pages(f"studies/{study}/instances", Modality="SR"):
            report = value(match, INSTANCE)
            if report in known or not _is_ours(match):
                continue
            # All that it tells of is learnt, so that the next image of the study need not look again.
            for header in self._client.metadata(study, value(match, SERIES), report):
                if value(header, MANUFACTURER) != OURS:
                    continue
                for uid in _referenced(header):
                    self._ledger.record(uid, study, version="", results=[Stored("SR", report)])
        found = self._ledger.find(source)
        return found.results if found else ()

    def _hold_any(self, study: str, results: Sequence[Stored]) -> bool:
        return any(self._client.holds(study, result.sop_instance_uid) for result in results)


def _stored(job: Job, answer: Answer) -> Act:
    """What the audit trail says; it is recorded before the ledger, which ends the job."""
    subject = job.order.subject
    results = " ".join(f"{result.role}:{result.sop_instance_uid}" for result in answer.in_order)
    told = {"job": job.id, "study": subject.study_instance_uid, "instance": subject.sop_instance_uid or ""}
    return Act("results_stored", details={**told, "digest": answer.version, "results": results})


def _is_ours(match: Match) -> bool:
    return (
        value(match, MODALITY) in ("SR", "")
        and value(match, SERIES_NUMBER) in (REPORT_SERIES_NUMBER, "")
        and value(match, INSTANCE).startswith(OWN_UIDS)
    )


def _referenced(header: Match) -> set[str]:
    """SOP Instance UIDs that a header refers to, at whatever depth."""
    found = set()
    for tag in header:
        for item in values(header, tag):
            if tag == REFERENCED_INSTANCE:
                found.add(str(item))
            elif isinstance(item, dict) and "Alphabetic" not in item:
                found |= _referenced(item)
    return found


def _roles(results: Sequence[Result]) -> str:
    return " and ".join(result.role for result in results)
