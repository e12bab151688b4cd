"""A PACS through DICOMweb (DICOM PS3.18): QIDO-RS, WADO-RS and STOW-RS, and Orthanc's own change log.

Instances stay bytes: what a PACS sends is bounded while it arrives, and nothing reads it before its limits are checked.
"""

import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from service.errors import (
    BodyTooLarge,
    FormMalformed,
    InstanceGone,
    InstanceTooLarge,
    MediaTypeUnsupported,
    PacsError,
    PacsRefused,
    PacsUnavailable,
    SettingsInvalid,
)
from service.jobs.job import Subject
from service.metrics import Metrics
from service.pacs.multipart import DICOM, RELATED, Parts, write_parts
from service.pacs_settings import PacsSettings

JSON = "application/dicom+json"
PAGE = 100
"""Matches asked for at once."""

STORED_AS_SENT = f'{RELATED}; type="{DICOM}"; transfer-syntax=*'
"""Without the last, Orthanc transcodes what is compressed."""

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
MODALITY, SERIES_NUMBER = "00080060", "00200011"
REFERENCED_INSTANCE = "00081155"
FAILED_SEQUENCE, FAILURE_REASON = "00081198", "00081197"

Match = Mapping[str, Any]
"""One match of a search, in the DICOM JSON model (PS3.18 annex F)."""

_LATER = (401, 403, 408, 425, 429)
"""Passwords are repaired and servers recover: what is answered with these, or with 5xx, is tried again."""
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
"""Failure reasons that pass (PS3.4 table B.2-1)."""


class PacsClient:
    """One PACS. May be used by several threads."""

    def __init__(
        self, settings: PacsSettings, metrics: Metrics, *, max_bytes: int, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._url = settings.url or ""
        self._orthanc_url = settings.orthanc_url or ""
        self._max_bytes = max_bytes
        self._metrics = metrics
        secret = settings.password.get_secret_value() if settings.password else ""
        self._http = httpx2.Client(
            auth=httpx2.BasicAuth(settings.user, secret) if settings.user else None,
            headers={"Authorization": f"Bearer {settings.token.get_secret_value()}"} if settings.token else None,
            timeout=settings.timeout_s,
            verify=_trusted(settings),
            trust_env=False,  # no proxy: the PACS is in the building
            transport=transport,
        )

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def search(self, path: str, **query: str | int) -> list[Match]:
        """QIDO-RS: all matches at once, as for the instances of one study.

        Raises:
            PacsError: It does not answer, or not so.
        """
        # Orthanc 1.10 does not decode an escaped wildcard, and finds nothing.
        url = f"{self._url}/{path}?{urlencode(query, safe='*?', quote_via=quote)}"
        try:
            with self._asking("query", "GET", url, headers={"Accept": JSON}) as response:
                return _matches(response.read() if response.status_code != HTTPStatus.NO_CONTENT else b"")
        except InstanceGone as error:
            if "/" in path:  # within a study that is gone
                return []
            raise PacsRefused("The PACS knows no searches at this address (404): check EFSNET_PACS_URL.") from error

    def pages(self, path: str, **query: str | int) -> Iterator[Match]:
        """QIDO-RS: all matches, asked for page by page.

        Raises:
            PacsError: It does not answer, or not so.
        """
        offset, seen = 0, ""
        while matches := self.search(path, **query, limit=PAGE, offset=offset):
            if str(matches[0]) == seen:
                return  # it knows no `offset`, and has sent everything already
            seen = str(matches[0])
            yield from matches
            offset += len(matches)

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> list[Subject]:
        """The ultrasound instances of a study, or of one series.

        Raises:
            PacsError: It does not answer, or not so.
        """
        series = f"/series/{series_instance_uid}" if series_instance_uid else ""
        matches = self.search(f"studies/{study_instance_uid}{series}/instances", Modality="US")
        found = [
            Subject(study_instance_uid, value(match, SERIES) or series_instance_uid, value(match, INSTANCE))
            for match in matches
            if value(match, MODALITY) in ("US", "")  # a PACS that ignores the key is asked in vain, not believed
        ]
        return [subject for subject in found if subject.sop_instance_uid]

    def holds(self, study_instance_uid: str, sop_instance_uid: str) -> bool:
        """Whether an instance is there.

        Raises:
            PacsError: It does not answer, or not so.
        """
        matches = self.search(f"studies/{study_instance_uid}/instances", SOPInstanceUID=sop_instance_uid)
        return any(value(match, INSTANCE) == sop_instance_uid for match in matches)

    def metadata(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> list[Match]:
        """WADO-RS: the header of an instance.

        Raises:
            PacsError: It does not answer, or not so.
        """
        series = f"studies/{study_instance_uid}/series/{series_instance_uid}"
        return self.search(f"{series}/instances/{sop_instance_uid}/metadata")

    def retrieve(self, subject: Subject) -> bytes:
        """WADO-RS: an instance as it is stored. Kept in memory only.

        Raises:
            InstanceGone: There is no such instance.
            InstanceTooLarge: It is over the limit.
            PacsError: The PACS does not answer, or not so.
        """
        path = f"studies/{subject.study_instance_uid}/series/{subject.series_instance_uid}"
        url = f"{self._url}/{path}/instances/{subject.sop_instance_uid}"
        found: list[bytes] = []
        with self._asking("retrieve", "GET", url, headers={"Accept": STORED_AS_SENT}) as response:
            kind = response.headers.get("content-type", "")
            parts = Parts(kind, keep_bytes=self._max_bytes, max_part_bytes=self._max_bytes)
            for chunk in response.iter_bytes():
                found += parts.feed(chunk)
            parts.close()
        if len(found) != 1:
            raise PacsRefused(f"The PACS sent {len(found)} instances instead of one.")
        return found[0]

    def store(self, study_instance_uid: str, instance: bytes) -> None:
        """STOW-RS: one instance into its study. One that is there already stays as it is.

        Raises:
            PacsError: It is not stored.
        """
        boundary = uuid.uuid4().hex
        headers = {"Accept": JSON, "Content-Type": f'{RELATED}; type="{DICOM}"; boundary={boundary}'}
        body = b"".join(write_parts([instance], boundary))
        url = f"{self._url}/studies/{study_instance_uid}"
        with self._asking("store", "POST", url, headers=headers, content=body) as response:
            _check_stored(response.read())

    def orthanc(self, path: str, **query: int) -> Any:
        """What Orthanc's own interface answers.

        Raises:
            InstanceGone: There is nothing at this path (any more).
            PacsError: It does not answer, or not so.
        """
        with self._asking("changes", "GET", f"{self._orthanc_url}/{path}", params=query) as response:
            try:
                return response.read() and response.json()
            except ValueError as error:
                raise PacsRefused("Orthanc's answer is no JSON: check EFSNET_PACS_ORTHANC_URL.") from error

    @contextmanager
    def _asking(self, operation: str, method: str, url: str, **request: Any) -> Iterator[httpx2.Response]:
        """The answer to a request, while it arrives. All that can go wrong is told in our words, none of the PACS's."""
        since, outcome = time.perf_counter(), "error"
        try:
            with self._http.stream(method, url, **request) as response:
                _check_status(response)
                yield response
            outcome = "ok"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise PacsUnavailable(f"The PACS cannot be reached, or breaks off ({type(error).__name__}).") from error
        except (FormMalformed, MediaTypeUnsupported) as error:
            raise PacsUnavailable(
                "The PACS answers in a form that is not DICOMweb's: check EFSNET_PACS_URL."
            ) from error
        except BodyTooLarge as error:
            raise InstanceTooLarge(str(error)) from error
        except PacsError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.pacs_duration.labels(operation, outcome).observe(time.perf_counter() - since)


def value(match: Match, tag: str) -> str:
    """The first value of an attribute; empty without one."""
    return str((match.get(tag, {}).get("Value") or [""])[0])


def _matches(body: bytes) -> list[Match]:
    if not body:
        return []
    try:
        return list(httpx2.Response(200, content=body).json())
    except (ValueError, TypeError) as error:
        raise PacsRefused("The PACS's answer is no DICOM JSON: check EFSNET_PACS_URL.") from error


def _check_status(response: httpx2.Response) -> None:
    status = response.status_code
    if status < 300:
        return
    if status in (401, 403):
        raise PacsUnavailable(f"The PACS does not let us in ({status}): check EFSNET_PACS_USER, _PASSWORD or _TOKEN.")
    if status in _LATER or status >= 500:
        raise PacsUnavailable(f"The PACS fails ({status}).")
    if status in (404, 410):
        raise InstanceGone(f"The PACS does not hold it ({status}).")
    raise PacsRefused(f"The PACS refuses it ({status}).")


def _check_stored(body: bytes) -> None:
    """Reads which instances failed (PS3.18 section I.2); the status alone may say that some were stored."""
    try:
        answer = httpx2.Response(200, content=body).json()
    except ValueError:
        return  # an older PACS answers in XML, and its status has said that all went well
    if not isinstance(answer, dict):
        return
    for failed in answer.get(FAILED_SEQUENCE, {}).get("Value") or ():
        reason = int(value(failed, FAILURE_REASON) or 0)
        message = f"The PACS did not store it (reason {reason})."
        raise PacsUnavailable(message) if reason in _OUT_OF_RESOURCES else PacsRefused(message)


def _trusted(settings: PacsSettings) -> ssl.SSLContext:
    """How the PACS proves who it is, and we who we are."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.certificate_key)
    except OSError as error:
        raise SettingsInvalid(
            f"EFSNET_PACS_CA_FILE, _CERTIFICATE or _CERTIFICATE_KEY cannot be used: {error.strerror or error}."
        ) from error
    return context
