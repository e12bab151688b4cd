"""What a request brings, received within its bounds: how large, how slow, and how many at the same time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import Request

from service.api.arrivals import Arrival, Arrivals
from service.api.bodies import FIELD, HEAD_BYTES, WINDOW_BITS, Body, FormBody, PackedBody, RawBody, check_size
from service.dicom.source import is_dicom
from service.errors import BodyEmpty, FormMalformed, MediaTypeUnsupported, QueueFull
from service.settings import Settings

FORM = "multipart/form-data"
DICOM = "application/dicom"
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
        self._arrivals = Arrivals(settings.upload_capacity)
        self._large = asyncio.Semaphore(settings.large_uploads)

    async def receive(self, request: Request) -> bytes:
        """The uploaded file, as `read_upload` gives it.

        Raises:
            QueueFull: Enough are being received already.
        """
        timeout_s = self._settings.upload_timeout_s
        with self._arrivals.place(large=self._limits.may_be_large(request.headers)) as arrival:
            return await read_upload(request, limits=self._limits, timeout_s=timeout_s, arrival=arrival)

    async def receive_message(self, request: Request) -> bytes:
        """A body that holds more than a file, as `read_message` gives it; as large as an image at most.

        Raises:
            QueueFull: Enough are being received already.
        """
        max_bytes, timeout_s = self._settings.max_body_bytes, self._settings.upload_timeout_s
        with self._arrivals.place(large=self._limits.may_be_large(request.headers)) as arrival:
            return await read_message(request, max_bytes=max_bytes, timeout_s=timeout_s, arrival=arrival)

    @asynccontextmanager
    async def room(self, request: Request) -> AsyncIterator[None]:
        """Memory for an upload until it is answered: of those that may be large there are few at the same time.

        Raises:
            QueueFull: Enough of them are in work already.
        """
        if not self._limits.may_be_large(request.headers):
            yield
            return
        if self._large.locked() and not self._arrivals.make_room(large=True):
            raise QueueFull(f"{self._settings.large_uploads} large files are in work already.")
        async with self._large:
            yield


async def read_upload(
    request: Request,
    *,
    limits: UploadLimits,
    timeout_s: float,
    accepted: Sequence[str] = (FORM, *RAW),
    arrival: Arrival | None = None,
) -> bytes:
    """The bytes of the uploaded file.

    Raises:
        UploadError: The body is empty, too large, too slow, of another media type, or not the expected form.
        starlette.requests.ClientDisconnect: The client left.
    """
    media_type = request.headers.get("content-type", "application/octet-stream")
    body = _body(media_type, accepted)
    # A Content-Length that is no number does not get past the server.
    check_size(int(request.headers.get("content-length", 0)), limits.of(media_type, b""))
    async with (arrival := arrival or Arrival()).within(timeout_s):
        await _receive(request, body, lambda: limits.of(media_type, body.head), arrival)
    image = body.close()
    if not image:
        raise BodyEmpty(f"There is no image in the body: send the file as the body, or as the form field `{FIELD}`.")
    check_size(len(image), limits.of(media_type, body.head.ljust(HEAD_BYTES, b"\0")))
    return image


async def read_message(request: Request, *, max_bytes: int, timeout_s: float, arrival: Arrival) -> bytes:
    """The body, unpacked where its Content-Encoding says gzip or deflate (RFC 9110 section 8.4.1).

    Args:
        request: Whose body has not been read.
        max_bytes: Of the body, packed and unpacked: no more than that is ever unpacked.
        timeout_s: In which it must have arrived.
        arrival: What is told how it comes.

    Raises:
        UploadError: The body is too large, too slow, packed in another way, or not packed as it says.
        starlette.requests.ClientDisconnect: The client left.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *WINDOW_BITS):
        raise MediaTypeUnsupported("Send the body as it is, or packed with Content-Encoding gzip or deflate.")
    check_size(int(request.headers.get("content-length", 0)), max_bytes)
    body: Body = PackedBody(encoding, max_bytes) if encoding in WINDOW_BITS else RawBody()
    async with arrival.within(timeout_s):
        await _receive(request, body, lambda: max_bytes, arrival)
    return body.close()


async def _receive(request: Request, body: Body, limit_bytes: Callable[[], int], arrival: Arrival) -> None:
    async for chunk in request.stream():
        check_size(arrival.count(len(chunk)), limit_bytes())
        body.write(chunk)


def _body(content_type: str, accepted: Sequence[str]) -> "RawBody | FormBody":
    media_type, options = parse_options_header(content_type)
    if media_type.decode("latin-1") not in accepted:
        offered = ", ".join(each for each in accepted if each != FORM)
        form = f"the form field `{FIELD}` (Content-Type {FORM}), or as " if FORM in accepted else ""
        raise MediaTypeUnsupported(f"Send it as {form}the body itself (Content-Type {offered}).")
    if media_type == FORM.encode():
        if b"boundary" not in options:
            raise FormMalformed("The form's Content-Type names no boundary.")
        return FormBody(options[b"boundary"])
    return RawBody()
