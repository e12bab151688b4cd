"""The process that decodes compressed frames: `python -m service.dicom.decoder`.

Decoders are C and C++ that foreign bytes go into. Here they may crash, loop or ask for all memory, and only this
process ends. It reads a frame from its standard input, writes the pixels to its standard output, and so on until its
input ends:

    in   4 bytes: length n, big endian; n bytes: JSON of `FrameHeader`; then `length` bytes, the frame
    out  4 bytes: length n, big endian; n bytes: JSON of `PixelsHeader`; then the array in C order
"""

import contextlib
import json
import logging
import resource
import signal
import struct
import sys
import warnings
from typing import Any, BinaryIO, TypedDict

CPU_S = 2.0
"""CPU time that one frame may take; then the process is ended by the kernel, whatever it is at."""

MEMORY_BYTES = 2 << 30
"""Address space of the process: libraries, and a few copies of the largest frame that is taken."""

_PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "gdcm",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pillow",
    "1.2.840.10008.1.2.4.91": "pillow",
    "1.2.840.10008.1.2.5": "pydicom",
}
"""What decodes each compressed transfer syntax; docs/decisions/0013 says why."""

COMPRESSED = frozenset(_PLUGINS)
"""Transfer syntaxes whose frames are decoded here."""


class FrameHeader(TypedDict):
    """What is known of a frame: pydicom's words for its decoders, and the frame's length in bytes."""

    transfer_syntax_uid: str
    length: int
    layout: dict[str, Any]


class PixelsHeader(TypedDict):
    """What came out, or that nothing did."""

    shape: list[int]
    dtype: str
    photometric_interpretation: str


def main() -> None:
    """Decodes until its input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient's pixels
    # What pydicom and the decoders have to say may quote the frame, and is nobody's business.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (size := source.read(4)) and len(size) == 4:
        header: FrameHeader = json.loads(source.read(struct.unpack(">I", size)[0]))
        _answer(header, source.read(header["length"]), sink)


def _answer(header: FrameHeader, frame: bytes, sink: BinaryIO) -> None:
    answer = PixelsHeader(shape=[], dtype="", photometric_interpretation="")
    pixels = b""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    # A decoder meets damaged bytes with nearly any exception; there is one answer to all of them.
    with contextlib.suppress(Exception):
        answer, pixels = _decoded(header, frame)
    signal.setitimer(signal.ITIMER_PROF, 0)
    text = json.dumps(answer).encode("ascii")
    sink.write(struct.pack(">I", len(text)) + text)
    sink.write(pixels)
    sink.flush()


def _decoded(header: FrameHeader, frame: bytes) -> tuple[PixelsHeader, bytes]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    syntax = header["transfer_syntax_uid"]
    array, told = get_decoder(syntax).as_array(
        encapsulate([frame]), index=0, decoding_plugin=_PLUGINS[syntax], **header["layout"]
    )
    photometric = str(told["photometric_interpretation"])
    return PixelsHeader(
        shape=list(array.shape), dtype=array.dtype.str, photometric_interpretation=photometric
    ), array.tobytes()


if __name__ == "__main__":
    main()
