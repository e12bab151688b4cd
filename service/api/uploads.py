"""The image of a request's body: the body itself, or the one file of a form. Kept in memory, never on the disk.

Starlette's own form parser writes parts above 1 MB to a temporary file, so the form is read here.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import Request

from service.dicom.source import is_dicom
from service.errors import (
    BodyEmpty,
    BodyTooLarge,
    FormFieldUnknown,
    FormMalformed,
    MediaTypeUnsupported,
    QueueFull,
    TooManyFiles,
    UploadTimedOut,
)
from service.settings import Settings

FIELD = "image"
FORM = "multipart/form-data"
DICOM = "application/dicom"
HEAD_BYTES = 132
"""From which a file tells whether it is DICOM."""
RAW = (
    "image/png",
    "image/jpeg",
    "image/bmp",
    "image/tiff",
    DICOM,
    "application/octet-stream",
)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large a file may be, by its first bytes: a cine loop is larger than a photograph."""

    image_bytes: int
    dicom_bytes: int

    def may_be_large(self, headers: Headers) -> bool:
        """Whether the body of a request with these headers may hold more than an image has."""
        if headers.get("content-type", "").startswith("image/"):
            return False
        return "content-length" not in headers or int(headers["content-length"]) > self.image_bytes

    def of(self, media_type: str, head: bytes) -> int:
        """For a body of this media type whose file begins like this; the larger one as long as that is not known."""
        known_image = media_type.startswith("image/") or (len(head) >= HEAD_BYTES and not is_dicom(head))
        return self.image_bytes if known_image else max(self.image_bytes, self.dicom_bytes)


class Uploads:
    """Room for uploads: how many are received at the same time, and how many large ones are in work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = UploadLimits(settings.max_body_bytes, settings.max_dicom_bytes)
        self._receiving = asyncio.Semaphore(settings.upload_capacity)
        self._large = asyncio.Semaphore(settings.large_uploads)

    async def receive(self, request: Request) -> bytes:
        """The uploaded file, as `read_upload` gives it.

        Raises:
            QueueFull: Enough are being received already.
        """
        if self._receiving.locked():
            raise QueueFull(f"{self._settings.upload_capacity} uploads are being received already.")
        async with self._receiving:
            return await read_upload(request, limits=self._limits, timeout_s=self._settings.upload_timeout_s)

    @asynccontextmanager
    async def room(self, request: Request) -> AsyncIterator[None]:
        """Memory for an upload until it is answered: of those that may be large there are few at the same time.

        Raises:
            QueueFull: Enough of them are in work already.
        """
        if not self._limits.may_be_large(request.headers):
            yield
            return
        if self._large.locked():
            raise QueueFull(f"{self._settings.large_uploads} large files are in work already.")
        async with self._large:
            yield


async def read_upload(
    request: Request, *, limits: UploadLimits, timeout_s: float, accepted: Sequence[str] = (FORM, *RAW)
) -> bytes:
    """The bytes of the uploaded file.

    Raises:
        UploadError: The body is empty, too large, too slow, of another media type, or not the expected form.
        starlette.requests.ClientDisconnect: The client left.
    """
    media_type = request.headers.get("content-type", "application/octet-stream")
    body = _body(media_type, accepted)
    # A Content-Length that is no number does not get past the server.
    _check(int(request.headers.get("content-length", 0)), limits.of(media_type, b""))
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                _check(received, limits.of(media_type, body.head))
                body.write(chunk)
    except TimeoutError as error:
        raise UploadTimedOut(f"The body did not arrive within {timeout_s:g} s.") from error
    image = body.close()
    if not image:
        raise BodyEmpty(f"There is no image in the body: send the file as the body, or as the form field `{FIELD}`.")
    _check(len(image), limits.of(media_type, body.head.ljust(HEAD_BYTES, b"\0")))
    return image


def _check(count: int, limit: int) -> None:
    if count > limit:
        raise BodyTooLarge(
            f"The body is over the limit of {limit:,} bytes: send a smaller file, or raise EFSNET_MAX_BODY_BYTES, for "
            "DICOM EFSNET_MAX_DICOM_BYTES."
        )


def _body(content_type: str, accepted: Sequence[str]) -> "_RawBody | _FormBody":
    media_type, options = parse_options_header(content_type)
    if media_type.decode("latin-1") not in accepted:
        offered = ", ".join(each for each in accepted if each != FORM)
        form = f"the form field `{FIELD}` (Content-Type {FORM}), or as " if FORM in accepted else ""
        raise MediaTypeUnsupported(f"Send it as {form}the body itself (Content-Type {offered}).")
    if media_type == FORM.encode():
        if b"boundary" not in options:
            raise FormMalformed("The form's Content-Type names no boundary.")
        return _FormBody(options[b"boundary"])
    return _RawBody()


class _RawBody:
    """A body that is the file."""

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    @property
    def head(self) -> bytes:
        return bytes(self._content[:HEAD_BYTES])

    def close(self) -> bytes:
        return bytes(self._content)


class _FormBody:
    """A body that is a form (RFC 7578) of the one file."""

    def __init__(self, boundary: bytes) -> None:
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = ""
        self._image = bytearray()
        self._files = 0
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise FormMalformed("The form's boundary is too long.") from error

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise FormMalformed("The body is not the form that its Content-Type says.") from error

    @property
    def head(self) -> bytes:
        return bytes(self._image[:HEAD_BYTES])

    def close(self) -> bytes:
        if not self._complete:
            raise FormMalformed("The form ends before its closing boundary.")
        return bytes(self._image)

    def _on_part_begin(self) -> None:
        self._disposition = ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("latin-1")
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if self._files and b"filename" in options:
            raise TooManyFiles("The form holds more than one file: send one image a request.")
        if self._files or options.get(b"name") != FIELD.encode():
            raise FormFieldUnknown(
                f"The form takes one field, the file `{FIELD}`; parameters go into the query, as in ?format=png."
            )
        self._files += 1

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._image += data[start:end]

    def _on_end(self) -> None:
        self._complete = True
