"""The binary messages of a stream, as docs/live.md lays them out. Numbers are big-endian."""

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from efsnet.image import Image, decode_image, image_from_pixels
from service.errors import FrameMalformed

HEADER = struct.Struct(">IQHH")
"""Sequence number, time of capture in µs, format, and 0: 16 bytes."""

GREY_SIZE = struct.Struct(">HH")
"""Rows and columns of a raw grey frame."""

LENGTHS = struct.Struct(">III")
"""Of the three parts of an answer."""

_SIGNATURES = {1: b"\xff\xd8\xff", 2: b"\x89PNG\r\n\x1a\n"}


class FrameFormat(IntEnum):
    """Of the bytes after a frame's header."""

    JPEG = 1
    PNG = 2
    GREY = 3
    """Rows and columns as two 16-bit numbers, then a byte for each pixel, row after row."""


class MaskFormat(IntEnum):
    """Of the masks in an answer."""

    PNG = 2
    """A palette PNG whose pixel values are class numbers."""
    RLE = 4
    """JSON: COCO's run lengths of each class."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameMessage:
    """A frame as it was sent."""

    sequence: int
    """The client's own; the answer has it."""
    captured_us: int
    """The client's own clock; the answer has it."""
    format: FrameFormat
    data: bytes

    @classmethod
    def parse(cls, message: bytes) -> "FrameMessage":
        """A message taken apart; its picture is not looked at.

        Raises:
            FrameMalformed: It has no header, or one that cannot be.
        """
        if len(message) <= HEADER.size:
            raise FrameMalformed(f"A frame has a header of {HEADER.size} bytes and a picture.")
        sequence, captured_us, kind, zero = HEADER.unpack_from(message)
        if kind not in FrameFormat.__members__.values() or zero != 0:
            raise FrameMalformed("A frame's format is 1 (JPEG), 2 (PNG) or 3 (grey), then come two bytes of 0.")
        return cls(sequence, captured_us, FrameFormat(kind), message[HEADER.size :])

    def decode(self, max_pixels: int) -> Image:
        """The picture.

        Raises:
            ImageError: It cannot be used.
            FrameMalformed: It is not of the format that the header says.
        """
        if self.format is not FrameFormat.GREY:
            if not self.data.startswith(_SIGNATURES[self.format]):
                raise FrameMalformed(f"The picture is no {self.format.name}, as its header says.")
            return decode_image(self.data, max_pixels=max_pixels)
        if len(self.data) < GREY_SIZE.size:
            raise FrameMalformed("A grey frame begins with its rows and columns.")
        rows, columns = GREY_SIZE.unpack_from(self.data)
        pixels = np.frombuffer(self.data, np.uint8, offset=GREY_SIZE.size)
        if rows * columns == 0 or pixels.size != rows * columns:
            raise FrameMalformed(f"A grey frame has a byte for each pixel: {rows} x {columns} are not {pixels.size}.")
        return image_from_pixels(pixels.reshape(rows, columns))


def answer_message(frame: FrameMessage, kind: MaskFormat, parts: tuple[bytes, bytes, bytes]) -> bytes:
    """The answer to a frame: summary, shown mask and raw mask behind header and lengths."""
    header = HEADER.pack(frame.sequence, frame.captured_us, kind, 0)
    return b"".join((header, LENGTHS.pack(*map(len, parts)), *parts))
