"""What is recorded: acts, and how each is called in the audit messages of IHE ATNA."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["success", "refused", "failed"]
"""`refused`: the service did not do it, and was right. `failed`: it could not."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of DICOM PS3.15 section A.5.3: coded values of DICOM's own scheme, DCM."""

    event_id: str
    meaning: str
    type_code: str | None = None


_ACCESSED = Event("110103", "DICOM Instances Accessed")
_TRANSFERRED = Event("110104", "DICOM Instances Transferred")
_ORDER = Event("110109", "Order Record")
_SOFTWARE = Event("110113", "Security Alert", "110131")
_SECURITY = Event("110113", "Security Alert", "110129")
_LOGIN = Event("110114", "User Authentication", "110122")

ACTS: Mapping[str, Event] = {
    "service_started": Event("110100", "Application Activity", "110120"),
    "service_stopped": Event("110100", "Application Activity", "110121"),
    "audit_resumed": Event("110113", "Security Alert", "110134"),
    "access_refused": _LOGIN,
    "image_segmented": _ACCESSED,
    "stream_admitted": _ACCESSED,
    "stream_opened": _ACCESSED,
    "stream_closed": _ACCESSED,
    "correction_kept": Event("110110", "Patient Record"),
    "job_ordered": _ORDER,
    "job_retried": _ORDER,
    "job_cancelled": _ORDER,
    "instances_received": _TRANSFERRED,
    "results_stored": _TRANSFERRED,
    "pacs_tested": Event("110112", "Query"),
    "version_loaded": _SOFTWARE,
    "version_promoted": _SOFTWARE,
    "version_rolled_back": _SOFTWARE,
    "alias_withdrawn": _SOFTWARE,
    "self_tested": Event("110100", "Application Activity"),
    "key_made": _SECURITY,
    "key_revoked": _SECURITY,
}
"""Every act, by its name in the lines. docs/audit.md has the table for people."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is recorded.

    Raises:
        ValueError: ACTS does not have it.
    """

    name: str
    outcome: Outcome = "success"
    who: str | None = None
    """Name and id of the API key, or the subject of a token; None where nobody was told."""
    address: str | None = None
    """Of whoever asked, as far as the service sees."""
    image: bytes | None = field(default=None, repr=False)
    """The uploaded file, of which a keyed hash is recorded."""
    details: Mapping[str, str | int] = field(default_factory=dict)
    """What else there is to say: words of the service's own, UIDs, numbers. Nothing that a client wrote."""

    def __post_init__(self) -> None:
        if self.name not in ACTS:
            raise ValueError(f"there is no act {self.name}")
