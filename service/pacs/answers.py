"""What the answers of a PACS say: the DICOM JSON model, and the statuses of DICOMweb (DICOM PS3.18).

An answer that is not DICOMweb's is no refusal: behind a proxy it is a page for maintenance or of a login, and passes.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from service.errors import InstanceGone, PacsRefused, PacsUnavailable

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
MODALITY, SERIES_NUMBER, MANUFACTURER = "00080060", "00200011", "00080070"
REFERENCED_INSTANCE = "00081155"
STORED_SEQUENCE, FAILED_SEQUENCE, FAILURE_REASON = "00081199", "00081198", "00081197"

Match = Mapping[str, Any]
"""One match of a search, in the DICOM JSON model (PS3.18 annex F)."""

_LATER = (401, 403, 408, 425, 429)
"""Passwords are repaired and servers recover: what is answered with these, or with 5xx, is tried again."""
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
"""Failure reasons that pass (PS3.4 table B.2-1)."""


def values(match: Match, tag: str) -> list[Any]:
    """The values of an attribute, whatever a PACS has made of it; none without one."""
    attribute = match.get(tag)
    found = attribute.get("Value") if isinstance(attribute, dict) else None
    return found if isinstance(found, list) else []


def value(match: Match, tag: str) -> str:
    """The first value of an attribute; empty without one."""
    first = next(iter(values(match, tag)), None)
    return "" if first is None else str(first)


def read_matches(body: bytes) -> list[Match]:
    """The matches of a search.

    Raises:
        PacsUnavailable: The answer is none of a search.
    """
    try:
        found = json.loads(body or b"[]")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(match, dict) for match in found):
        raise PacsUnavailable("The PACS's answer is no DICOM JSON: check EFSNET_PACS_URL.")
    return found


def check_status(status: int) -> None:
    """Raises what a status of HTTP means, unless it is one of success."""
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status < HTTPStatus.BAD_REQUEST:  # as to a login, when a token is out of date
        raise PacsUnavailable(f"The PACS sends us elsewhere ({status}): check EFSNET_PACS_URL, _USER or _TOKEN.")
    if status in (401, 403):
        raise PacsUnavailable(f"The PACS does not let us in ({status}): check EFSNET_PACS_USER, _PASSWORD or _TOKEN.")
    if status in _LATER or status >= 500:
        raise PacsUnavailable(f"The PACS fails ({status}).")
    if status in (404, 410):
        raise InstanceGone(f"The PACS does not hold it ({status}).")
    raise PacsRefused(f"The PACS refuses it ({status}).")


def read_stored(status: int, body: bytes) -> set[str]:
    """SOP Instance UIDs of those that the PACS says to have stored (PS3.18 section I.2).

    The status alone does not tell: one of success may be of some instances only, or of a page for maintenance, and a
    conflict may pass.

    Raises:
        PacsUnavailable: One was not stored, and may be later.
        PacsRefused: One was not stored, for good.
    """
    answer = _read_object(body)
    reasons = _failure_reasons(answer)
    passing = [reason for reason in reasons if reason in _OUT_OF_RESOURCES]
    if passing:
        raise PacsUnavailable(f"The PACS did not store it (reason {passing[0]}).")
    if reasons:
        raise PacsRefused(f"The PACS did not store it (reason {reasons[0]}).")
    check_status(status)
    return {
        value(stored, REFERENCED_INSTANCE) for stored in values(answer, STORED_SEQUENCE) if isinstance(stored, dict)
    }


def _read_object(body: bytes) -> Match:
    """The answer; empty where it is in XML, as of an older PACS, or nothing of DICOMweb's."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _failure_reasons(answer: Match) -> Sequence[int]:
    """One for each instance that failed, 0 where the PACS gives none."""
    given = [value(failed, FAILURE_REASON) for failed in values(answer, FAILED_SEQUENCE) if isinstance(failed, dict)]
    return [int(reason) if reason.isdecimal() else 0 for reason in given]
