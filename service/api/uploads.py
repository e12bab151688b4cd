"""The image of a request's body: the body itself, or the one file of a form. Kept in memory, never on the disk.

Starlette's own form parser writes parts above 1 MB to a temporary file, so the form is read here.
"""

import asyncio

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from service.errors import (
    BodyEmpty,
    BodyTooLarge,
    FormFieldUnknown,
    FormMalformed,
    MediaTypeUnsupported,
    TooManyFiles,
    UploadTimedOut,
)

FIELD = "image"
FORM = "multipart/form-data"
RAW = (
    "image/png",
    "image/jpeg",
    "image/bmp",
    "image/tiff",
    "application/octet-stream",
)


async def read_upload(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """The bytes of the uploaded file.

    Raises:
        UploadError: The body is empty, too large, too slow, of another media type, or not the expected form.
        starlette.requests.ClientDisconnect: The client left.
    """
    body = _body(request.headers.get("content-type", "application/octet-stream"))
    too_large = (
        f"The body is over the limit of {max_bytes:,} bytes: send a smaller file, or raise EFSNET_MAX_BODY_BYTES."
    )
    # A Content-Length that is no number does not get past the server.
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise BodyTooLarge(too_large)
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                if received > max_bytes:
                    raise BodyTooLarge(too_large)
                body.write(chunk)
    except TimeoutError as error:
        raise UploadTimedOut(f"The body did not arrive within {timeout_s:g} s.") from error
    image = body.close()
    if not image:
        raise BodyEmpty(f"There is no image in the body: send the file as the body, or as the form field `{FIELD}`.")
    return image


def _body(content_type: str) -> "_RawBody | _FormBody":
    media_type, options = parse_options_header(content_type)
    if media_type == FORM.encode():
        if b"boundary" not in options:
            raise FormMalformed("The form's Content-Type names no boundary.")
        return _FormBody(options[b"boundary"])
    if media_type.decode("latin-1") not in RAW:
        raise MediaTypeUnsupported(
            f"Send the file as the form field `{FIELD}` (Content-Type {FORM}), or as the body itself "
            f"(Content-Type {', '.join(RAW)})."
        )
    return _RawBody()


class _RawBody:
    """A body that is the file."""

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, chunk: bytes) -> None:
        self._content += chunk

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
