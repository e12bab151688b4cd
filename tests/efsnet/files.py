"""Image files, sound and unsound, for the tests."""

import io
import struct
import zlib
from typing import Any

import PIL.Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(image: PIL.Image.Image, file_format: str, **options: Any) -> bytes:  # whatever Pillow's writers take
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(columns: int, rows: int) -> bytes:
    """Signature and header chunk of an 8 bit grey PNG file."""
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))


def tiff(tags: dict[int, tuple[int, int, bytes]], content: bytes = b"") -> bytes:
    """A little-endian TIFF file of one directory: {tag: (type, count, value)}, and what follows it."""
    entries = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0") for tag, (kind, count, value) in tags.items()
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + content
