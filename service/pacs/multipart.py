"""The parts of a multipart/related body (RFC 2387), as DICOMweb sends instances; each bounded, none on the disk."""

from collections.abc import Iterable, Iterator

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from service.errors import BodyTooLarge, FormMalformed, MediaTypeUnsupported

RELATED = "multipart/related"
DICOM = "application/dicom"


class Parts:
    """Takes a body chunk by chunk, and gives each part once it is whole.

    Of a part that is longer than `keep_bytes`, the rest is left out.
    """

    def __init__(self, content_type: str, *, keep_bytes: int, max_part_bytes: int) -> None:
        media_type, options = parse_options_header(content_type)
        if media_type != RELATED.encode() or options.get(b"type", DICOM.encode()).strip(b'"') != DICOM.encode():
            raise MediaTypeUnsupported(f'Send instances as {RELATED}; type="{DICOM}".')
        if b"boundary" not in options:
            raise FormMalformed("The Content-Type names no boundary.")
        self._keep_bytes = keep_bytes
        self._part = bytearray()
        self._max_part_bytes = max_part_bytes
        self._part_bytes = 0
        self._whole: list[bytes] = []
        self._complete = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise FormMalformed("The boundary is too long.") from error

    def feed(self, chunk: bytes) -> list[bytes]:
        """The parts that this chunk ends, or what is kept of them.

        Raises:
            FormMalformed: The body is not what its Content-Type says.
            BodyTooLarge: A part is over the limit.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise FormMalformed("The body is not the multipart that its Content-Type says.") from error
        if self._part_bytes > self._max_part_bytes:
            raise BodyTooLarge(
                f"An instance is over the limit of {self._max_part_bytes:,} bytes, EFSNET_MAX_DICOM_BYTES."
            )
        whole, self._whole = self._whole, []
        return whole

    def close(self) -> None:
        """Raises FormMalformed if the body ended before its closing boundary."""
        if not self._complete:
            raise FormMalformed("The body ends before its closing boundary.")

    def _on_part_begin(self) -> None:
        self._part.clear()
        self._part_bytes = 0

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start : min(end, start + self._keep_bytes - len(self._part))]
        self._part_bytes += end - start

    def _on_part_end(self) -> None:
        self._whole.append(bytes(self._part))
        self._part.clear()

    def _on_end(self) -> None:
        self._complete = True


def write_parts(instances: Iterable[bytes], boundary: str) -> Iterator[bytes]:
    """A body of these instances."""
    for instance in instances:
        yield f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        yield instance
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
