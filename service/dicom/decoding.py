"""From the stored bytes of a frame to its pixels: compressed ones are decoded by a process of their own."""

import contextlib
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efsnet.errors import ImageUndecodable
from service.dicom.decoder import COMPRESSED, FrameHeader
from service.errors import DecoderUnavailable

NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
"""Implicit, explicit, deflated and big endian: pixels as they are."""

SYNTAXES = NATIVE | COMPRESSED
"""The transfer syntaxes that are read."""

PATIENCE_S = 30.0
"""How long a frame is waited for: its decoder is ended after 2 s of CPU time, and may have to wait for the CPU."""

ENDING_S = 1.0
"""How long a process may take to end whose pipe is closed."""

OF_THE_FRAME = frozenset(
    {0, signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
)
"""How a decoder ends that met a frame it cannot take. Another end, as SIGKILL for want of memory, is not its fault."""

DAMAGED = "The pixel data is truncated or damaged, or not as the header says. Send the instance anew."

Pixels = NDArray[np.integer[Any]]
"""Of 8 or 16 bits."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a frame is stored, in pydicom's words for its decoders: the Image Pixel module (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    planar_configuration: int
    number_of_frames: int = 1
    pixel_keyword: str = "PixelData"

    @property
    def frame_bytes(self) -> int:
        """Length of a frame that is not compressed; of YBR_FULL_422 two pixels share their colours."""
        samples = 2 if self.photometric_interpretation == "YBR_FULL_422" else self.samples_per_pixel
        return self.rows * self.columns * samples * self.bits_allocated // 8


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """(rows, columns) or (rows, columns, 3) stored values, and what they are by now: YBR has become RGB."""

    pixels: Pixels
    photometric_interpretation: str


def decode_native(frame: bytes | memoryview, layout: Layout, transfer_syntax_uid: str) -> DecodedFrame:
    """A frame that is not compressed.

    Raises:
        ImageUndecodable: it has not the length that its layout asks for.
    """
    from pydicom.pixels.decoders.base import get_decoder

    if len(frame) != layout.frame_bytes:
        raise ImageUndecodable(DAMAGED)
    # The one odd byte that DICOM adds at the end of all is of no frame.
    padded = bytes(frame) + b"\0" * (len(frame) % 2)
    try:
        pixels, told = get_decoder(transfer_syntax_uid).as_array(padded, index=0, **asdict(layout))
    except Exception as error:
        raise ImageUndecodable(DAMAGED) from error
    return DecodedFrame(pixels, str(told["photometric_interpretation"]))


class DecoderProcess:
    """Decodes compressed frames in another process, one at a time; it starts with the first, and anew after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def decode(self, frame: bytes, layout: Layout, transfer_syntax_uid: str) -> DecodedFrame:
        """A frame of a transfer syntax of `COMPRESSED`.

        Raises:
            ImageUndecodable: it is damaged: the decoder says so, crashed, or was ended at its limit of time.
            DecoderUnavailable: the decoder cannot be started, or was ended by others; the frame may be sound.
        """
        header = FrameHeader(transfer_syntax_uid=transfer_syntax_uid, length=len(frame), layout=asdict(layout))
        with self._lock:
            try:
                told, content = self._exchange(header, frame)
            except (OSError, EOFError, ValueError) as error:
                if self._end() in OF_THE_FRAME:
                    raise ImageUndecodable(DAMAGED) from error
                raise DecoderUnavailable("The decoder of compressed frames was ended or cannot start.") from error
        if told["shape"][:2] != [layout.rows, layout.columns]:
            raise ImageUndecodable(DAMAGED)
        pixels: Pixels = np.frombuffer(content, np.dtype(told["dtype"])).reshape(told["shape"])
        return DecodedFrame(pixels, told["photometric_interpretation"])

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _exchange(self, header: FrameHeader, frame: bytes) -> tuple[Any, bytes]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise EOFError
        text = json.dumps(header).encode("ascii")
        process.stdin.write(struct.pack(">I", len(text)) + text)
        process.stdin.write(frame)
        process.stdin.flush()
        until = time.monotonic() + PATIENCE_S
        descriptor = process.stdout.fileno()
        (size,) = struct.unpack(">I", _read(descriptor, 4, until))
        told = json.loads(_read(descriptor, size, until))
        length = prod(told["shape"]) * np.dtype(told["dtype"]).itemsize if told["shape"] else 0
        return told, _read(descriptor, length, until)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            # One thread: those of a BLAS would each reserve memory, and nothing here multiplies matrices.
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.dicom.decoder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _end(self) -> int | None:
        """Ends the process. Returns by which signal it had ended itself, 0 if by none; None where it had not."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_S)  # its pipes close a moment before
        ended = process.poll()
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # of what it had not read yet
                    pipe.close()
        process.wait()
        return None if ended is None else max(-ended, 0)


def _read(descriptor: int, count: int, until: float) -> bytes:
    """Exactly so many bytes.

    Raises:
        EOFError: there are no more.
        TimeoutError: they did not come in time.
    """
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while len(received) < count:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            chunk = os.read(descriptor, count - len(received))
            if not chunk:
                raise EOFError
            received += chunk
    return bytes(received)
