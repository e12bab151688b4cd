"""A PACS through DICOMweb (DICOM PS3.18): QIDO-RS, WADO-RS and STOW-RS, and Orthanc's own change log.

Instances stay bytes: what a PACS sends is bounded while it arrives, and nothing reads it before its limits are checked.
"""

import json
import logging
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
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
    UIDInvalid,
)
from service.jobs.job import Subject
from service.metrics import Metrics
from service.pacs.answers import INSTANCE, MODALITY, SERIES, Match, check_status, read_matches, read_stored, value
from service.pacs.multipart import DICOM, RELATED, Parts, write_parts
from service.pacs_settings import PacsSettings

JSON = "application/dicom+json"
PAGE = 100
"""Matches asked for at once."""

MAX_ANSWER_BYTES = 50_000_000
"""Of an answer that is no instance: a page of matches has some thousands, a report's header at most a few millions."""

LONGEST_TRANSFER_S = 600.0
"""In which an answer must be here, however steadily it trickles: who waits for it does nothing else."""

STORED_AS_SENT = f'{RELATED}; type="{DICOM}"; transfer-syntax=*'
"""Without the last, Orthanc transcodes what is compressed."""

_LOG = logging.getLogger("service.pacs")

_CONFLICT = HTTPStatus.CONFLICT
"""The status of a store in which all failed, for whatever reason."""


class PacsClient:
    """One PACS. May be used by several threads."""

    def __init__(
        self,
        settings: PacsSettings,
        metrics: Metrics,
        *,
        max_bytes: int,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = settings.url or ""
        self._orthanc_url = settings.orthanc_url or ""
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._clock = clock
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
        """QIDO-RS: the matches that the PACS sends at once, which may not be all.

        Raises:
            PacsError: It does not answer, or not so.
        """
        # Orthanc 1.10 does not decode an escaped wildcard, and finds nothing.
        url = f"{self._url}/{path}?{urlencode(query, safe='*?', quote_via=quote)}"
        try:
            with self._asking("query", "GET", url, headers={"Accept": JSON}) as response:
                return read_matches(self._read(response) if response.status_code != HTTPStatus.NO_CONTENT else b"")
        except InstanceGone as error:
            if "/" in path:  # within a study that is gone
                return []
            raise PacsUnavailable("The PACS knows no searches at this address (404): check EFSNET_PACS_URL.") from error

    def pages(self, path: str, **query: str | int) -> Iterator[Match]:
        """QIDO-RS: all matches, asked for page by page.

        Raises:
            PacsError: It does not answer, or not so.
        """
        seen: set[int] = set()  # hashes: an archive has millions of studies
        offset = 0
        while matches := self.search(path, **query, limit=PAGE, offset=offset):
            new = [match for match in matches if hash(str(match)) not in seen]
            if not new:
                return  # it knows no `offset`, and has sent everything already
            seen.update(hash(str(match)) for match in new)
            yield from new
            offset += len(matches)

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> list[Subject]:
        """The ultrasound instances of a study, or of one series; those whose UIDs are none are told in the log.

        Raises:
            PacsError: It does not answer, or not so.
        """
        series = f"/series/{series_instance_uid}" if series_instance_uid else ""
        found = []
        for match in self.pages(f"studies/{study_instance_uid}{series}/instances", Modality="US"):
            if value(match, MODALITY) not in ("US", ""):
                continue  # a PACS that ignores the key is asked in vain, not believed
            try:
                uids = value(match, SERIES) or series_instance_uid, value(match, INSTANCE)
                found.append(Subject(study_instance_uid, *uids))
            except UIDInvalid:
                _LOG.error("an instance is passed over: its UIDs are none")
        return found

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
            for chunk in self._chunks(response):
                found += parts.feed(chunk)
            parts.close()
        if len(found) != 1:
            raise PacsRefused(f"The PACS sent {len(found)} instances instead of one.")
        return found[0]

    def store(self, study_instance_uid: str, instance: bytes) -> set[str]:
        """STOW-RS: one instance into its study. One that is there already stays as it is.

        Returns:
            SOP Instance UIDs of what the PACS says to have stored; nothing where it does not say so.

        Raises:
            PacsError: It is not stored.
        """
        boundary = uuid.uuid4().hex
        headers = {"Accept": JSON, "Content-Type": f'{RELATED}; type="{DICOM}"; boundary={boundary}'}
        body = b"".join(write_parts([instance], boundary))
        url = f"{self._url}/studies/{study_instance_uid}"
        try:
            with self._asking("store", "POST", url, takes=_CONFLICT, headers=headers, content=body) as response:
                return read_stored(response.status_code, self._read(response))
        except InstanceGone as error:
            raise PacsUnavailable("The PACS takes nothing at this address (404): check EFSNET_PACS_URL.") from error

    def orthanc(self, path: str, **query: int) -> Any:
        """What Orthanc's own interface answers.

        Raises:
            InstanceGone: There is nothing at this path (any more).
            PacsError: It does not answer, or not so.
        """
        with self._asking("changes", "GET", f"{self._orthanc_url}/{path}", params=query) as response:
            try:
                return json.loads(self._read(response))
            except (ValueError, RecursionError) as error:
                raise PacsUnavailable("Orthanc's answer is no JSON: check EFSNET_PACS_ORTHANC_URL.") from error

    def _read(self, response: httpx2.Response) -> bytes:
        """All of an answer that is no instance."""
        body = bytearray()
        for chunk in self._chunks(response):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise PacsUnavailable(f"The PACS answers with more than {MAX_ANSWER_BYTES:,} bytes.")
        return bytes(body)

    def _chunks(self, response: httpx2.Response) -> Iterator[bytes]:
        until = self._clock() + LONGEST_TRANSFER_S
        for chunk in response.iter_bytes():
            yield chunk
            if self._clock() > until:
                raise PacsUnavailable(f"The PACS takes more than {LONGEST_TRANSFER_S:g} s for an answer.")

    @contextmanager
    def _asking(
        self, operation: str, method: str, url: str, *, takes: int = 0, **request: Any
    ) -> Iterator[httpx2.Response]:
        """The answer to a request, while it arrives. All that can go wrong is told in our words, none of the PACS's.

        Args:
            operation: Its name among the metrics.
            method: Of HTTP.
            url: Asked.
            takes: A status that the caller reads beside those of success.
            request: What else there is to it.
        """
        since, outcome = time.perf_counter(), "error"
        try:
            with self._http.stream(method, url, **request) as response:
                if response.status_code != takes:
                    check_status(response.status_code)
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
