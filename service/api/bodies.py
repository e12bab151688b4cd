"""Where the bytes of a request go while they arrive: as they are, unpacked, or out of a form. All of it in memory.

Starlette's own form parser writes parts above 1 MB to a temporary file, so forms are read here.
"""

import zlib
from typing import Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from service.errors import BodyTooLarge, FormFieldUnknown, FormMalformed, TooManyFiles

FIELD = "image"
HEAD_BYTES = 132
"""From which a file tells whether it is DICOM."""

MOST_COMMAS = 1000
"""In a JSON document that brings an image. Neither base64 nor run lengths have any."""

WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""As zlib takes them; `deflate` is the format of RFC 1950."""


def check_size(count: int, limit: int) -> None:
    """Raises BodyTooLarge if a body has more bytes than it may have."""
    if count > limit:
        raise BodyTooLarge(
            f"The body is over the limit of {limit:,} bytes: send a smaller file, or raise EFSNET_MAX_BODY_BYTES, for "
            "DICOM EFSNET_MAX_DICOM_BYTES."
        )


def has_many_members(document: bytes) -> bool:
    """Whether a JSON document that brings an image in base64 has more members than any that is right.

    Each one too many would be a fault to be told of, and ten megabytes of those take gigabytes of memory.
    """
    return document.count(b",") > MOST_COMMAS


class Body(Protocol):
    """Where the bytes of a request go."""

    def write(self, chunk: bytes) -> None: ...

    def close(self) -> bytes: ...


class RawBody:
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


class PackedBody:
    """A body that is unpacked as it arrives, and no further than it may be large."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._unpacker = zlib.decompressobj(WINDOW_BITS[encoding])
        self._content = bytearray()

    def write(self, chunk: bytes) -> None:
        try:
            self._content += self._unpacker.decompress(chunk, self._max_bytes - len(self._content) + 1)
        except zlib.error as error:
            raise FormMalformed(f"The body is not packed as {self._encoding}.") from error
        check_size(len(self._content), self._max_bytes)

    def close(self) -> bytes:
        if not self._unpacker.eof:
            raise FormMalformed("The packed body ends before its end.")
        return bytes(self._content)


class FormBody:
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
