"""What a job is: which instance is to be answered, and how far that is. Holds UIDs only, nothing of a patient."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Literal

from service.errors import UIDInvalid

State = Literal["queued", "running", "done", "failed", "cancelled"]
Level = Literal["study", "series", "instance"]

UID_PATTERN = r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$"
"""Of UIDs, beside their 64 characters at most (DICOM PS3.5 section 9.1)."""


class Priority(IntEnum):
    """The lower goes first."""

    LIVE = 0
    BACKFILL = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be answered: one instance, or all of a series or study. Each UID as `UID_PATTERN` says.

    Raises:
        UIDInvalid: One of them is no UID, or an instance comes without its series.
    """

    study_instance_uid: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    def __post_init__(self) -> None:
        if self.sop_instance_uid is not None and self.series_instance_uid is None:
            raise UIDInvalid("An instance is named with its series: send series_instance_uid too.")
        for uid in (self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid):
            if uid is not None and not (len(uid) <= 64 and re.fullmatch(UID_PATTERN, uid)):
                raise UIDInvalid("A UID is digits and dots, 64 at most, as in 1.2.840.10008.1.1.")

    @property
    def level(self) -> Level:
        """How much it is."""
        if self.sop_instance_uid is not None:
            return "instance"
        return "study" if self.series_instance_uid is None else "series"


@dataclass(frozen=True, slots=True)
class Order:
    """A wish for a job."""

    subject: Subject
    priority: Priority = Priority.LIVE
    explicit: bool = False
    """A person asked: what was done already without a stored result, or for fewer images, is done again."""
    reanalyse: bool = False
    """Also what has a result of another version is answered again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that a PACS holds."""

    role: str
    """SEG, SR, SC or PR."""
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Job:
    """An order on its way."""

    id: str
    order: Order
    state: State
    tries: int
    """Attempts begun so far."""
    note: str
    """What became of the last attempt; none of the words of a PACS or a file, which may name a patient."""
    version: str | None
    """Digest of the model version that its first analysis was done with: another attempt uses the same."""
    results: tuple[Stored, ...]
    created_at: datetime
    changed_at: datetime
    due_at: datetime
    """When a queued job may run."""
