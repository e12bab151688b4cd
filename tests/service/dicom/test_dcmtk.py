"""What DCMTK compresses and converts, as many archives do, is read: pydicom's own files are not the only ones."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.dicom.decoding import DecoderProcess
from service.dicom.source import Limits, read_source
from tests.service.dicom.instances import instance, part10, squares

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="needs Debian's dcmtk"),
]

LIMITS = Limits(max_pixels=1_000_000, max_frames=50, max_bytes=10_000_000)
GREY = squares()
COLOURS = np.repeat(GREY[..., np.newaxis], 3, axis=2)

SOURCES: Mapping[str, NDArray[np.generic]] = {
    "grey": GREY,
    "grey of 16 bits": GREY.astype(np.uint16) << 8,
    "colours": COLOURS,
    "a cine": np.stack([GREY, GREY]),
    "a cine in colours": np.stack([COLOURS, COLOURS]),
}

LOSSLESS = {
    "JPEG Lossless": ["dcmcjpeg", "+el"],
    "JPEG Lossless, first-order prediction": ["dcmcjpeg", "+e1"],
    "JPEG-LS Lossless": ["dcmcjpls", "+el"],
    "RLE Lossless": ["dcmcrle"],
    "Implicit VR Little Endian": ["dcmconv", "+ti"],
    "Explicit VR Big Endian": ["dcmconv", "+tb"],
    "Deflated Explicit VR Little Endian": ["dcmconv", "+td"],
}

LOSSY = {
    "JPEG Baseline": ["dcmcjpeg", "+eb"],
    "JPEG Extended": ["dcmcjpeg", "+ee"],
    "JPEG-LS Near-Lossless": ["dcmcjpls", "+en"],
}


LastFrame = Callable[[NDArray[np.generic], list[str]], NDArray[np.uint8]]


@pytest.fixture
def last_frame(decoder: DecoderProcess, tmp_path: Path) -> LastFrame:
    """(rows, columns): the grey, or the green, of what is read of the pixels after a command."""

    def read(pixels: NDArray[np.generic], command: list[str]) -> NDArray[np.uint8]:
        before, after = tmp_path / "before.dcm", tmp_path / "after.dcm"
        before.write_bytes(part10(instance(pixels)))
        subprocess.run([*command, before, after], check=True)
        source = read_source(after.read_bytes(), LIMITS, decoder)
        shown = source.displayed(source.number_of_frames - 1)
        return shown if shown.ndim == 2 else shown[..., 1]

    return read


@pytest.mark.requirement("PACS-1")
@pytest.mark.parametrize("pixels", list(SOURCES.values()), ids=list(SOURCES))
@pytest.mark.parametrize("command", list(LOSSLESS.values()), ids=list(LOSSLESS))
def test_what_loses_nothing_changes_no_pixel(
    pixels: NDArray[np.generic], command: list[str], last_frame: LastFrame
) -> None:
    """Whatever the transfer syntax."""
    np.testing.assert_array_equal(last_frame(pixels, command), GREY)


@pytest.mark.parametrize("command", list(LOSSY.values()), ids=list(LOSSY))
def test_what_loses_little_changes_little(command: list[str], last_frame: LastFrame) -> None:
    """Of colours: of grey, DCMTK stretches the values before it compresses them."""
    shown = last_frame(COLOURS, command)

    assert 3 >= np.abs(shown.astype(int) - GREY.astype(int)).max()
