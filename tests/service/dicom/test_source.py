"""An instance becomes what a viewer shows, or a clear refusal; nothing of its patient is told."""

import io
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from efsnet.errors import ImageUndecodable, TooManyPixels
from service.dicom.decoding import DecoderProcess
from service.dicom.source import DicomSource, Limits, read_source
from service.errors import (
    DecoderUnavailable,
    FrameUnknown,
    NoPixels,
    NoTissueRegion,
    NotUltrasound,
    TransferSyntaxUnsupported,
)
from tests.service.dicom.instances import CT, PATIENT_ID, SECONDARY_CAPTURE, instance, part10, region, squares

LIMITS = Limits(max_pixels=1_000_000, max_frames=50, max_bytes=10_000_000)
GREY = squares()


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    """One process for all of them."""
    process = DecoderProcess()
    yield process
    process.close()


def read(content: bytes, decoder: DecoderProcess | None = None) -> DicomSource:
    """The source in a file."""
    return read_source(content, LIMITS, decoder or DecoderProcess())


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian],
)
def test_pixels_that_are_not_compressed_are_as_stored(syntax: str) -> None:
    """However the elements beside them are written."""
    source = read(part10(instance(GREY), syntax))

    np.testing.assert_array_equal(source.displayed(0), GREY)
    assert (1, 128, 160) == (source.number_of_frames, source.rows, source.columns)


def test_big_endian_is_read_too() -> None:
    """Retired, and still in archives: 16 bits the other way round."""
    deep = GREY.astype(np.uint16) << 8
    content = part10(instance(deep.astype(">u2"), BitsAllocated=16, BitsStored=16, HighBit=15), ExplicitVRBigEndian)

    np.testing.assert_array_equal(read(content).displayed(0), GREY)


def compressed(syntax: str) -> bytes:
    """The squares, compressed by pydicom."""
    made = instance(GREY)
    part10(made)
    made.compress(syntax, generate_instance_uid=False)
    return part10(made, syntax)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
@pytest.mark.requirement("PACS-1")
def test_lossless_compression_changes_no_pixel(syntax: str, decoder: DecoderProcess) -> None:
    """It is undone in the decoders' own process."""
    np.testing.assert_array_equal(read(compressed(syntax), decoder).displayed(0), GREY)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """As a scanner compresses."""
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", quality=95)
    return file.getvalue()


def jpeg_cine(frames: int) -> bytes:
    """A cine of JPEG frames in colours, each brighter than the one before."""
    pictures = [np.repeat((GREY + np.uint8(5 * number))[..., np.newaxis], 3, axis=2) for number in range(frames)]
    made = instance(np.stack(pictures), PhotometricInterpretation="YBR_FULL_422")
    made.PixelData = encapsulate([jpeg(picture) for picture in pictures])
    made["PixelData"].is_undefined_length = True
    return part10(made, JPEGBaseline8Bit)


def test_a_cine_is_decoded_frame_by_frame(decoder: DecoderProcess) -> None:
    """Each as a viewer shows it, in any order."""
    source = read(jpeg_cine(4), decoder)

    assert 4 == source.number_of_frames
    for frame_index in (3, 0, 2):
        shown = source.displayed(frame_index)
        assert (128, 160, 3) == shown.shape
        assert np.abs(shown[..., 0].astype(int) - (GREY.astype(int) + 5 * frame_index)).mean() < 2
    with pytest.raises(FrameUnknown, match="1 to 4"):
        source.displayed(4)


def test_white_is_white_whatever_the_scale_says() -> None:
    """MONOCHROME1 has it at 0."""
    np.testing.assert_array_equal(
        read(part10(instance(~GREY, PhotometricInterpretation="MONOCHROME1"))).displayed(0), GREY
    )


def test_more_than_8_bits_become_their_8_highest() -> None:
    """Of 12 stored bits too, and bits above those stored are nobody's grey."""
    deep = (GREY.astype(np.uint16) << 4) | 0xF000
    source = read(part10(instance(deep, BitsStored=12, HighBit=11)))

    np.testing.assert_array_equal(source.displayed(0), GREY)
    assert "sixteen_bit" in source.findings


def test_a_window_is_applied() -> None:
    """A window of 100 grey values round 150 takes 100 to black and 200 to white (PS3.3 C.11.2.1.2)."""
    made = instance(np.tile(np.array([100, 150, 200], np.uint8), (60, 20)), WindowCenter=150, WindowWidth=100)
    low, middle, high = read(part10(made)).displayed(0)[0, :3].astype(int)

    assert low <= 1
    assert abs(middle - 128) <= 2
    assert high >= 254


@pytest.mark.parametrize(
    ("stored", "others"),
    [
        (GREY, {"WindowCenter": 128, "WindowWidth": 256}),
        (~GREY, {"RescaleSlope": -1, "RescaleIntercept": 255}),
        (~GREY, {"RescaleSlope": -1, "RescaleIntercept": 255, "WindowCenter": 128, "WindowWidth": 256}),
        (GREY, {"RescaleSlope": 2, "RescaleIntercept": 10, "WindowCenter": 266, "WindowWidth": 512}),
        (~GREY, {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 128, "WindowWidth": 256}),
        ((GREY.astype(np.int16) - 128) * 16, {"BitsStored": 12, "HighBit": 11, "WindowCenter": 0, "WindowWidth": 4096}),
    ],
)
def test_what_a_header_makes_of_stored_values_is_made_of_them(stored: NDArray[Any], others: dict[str, Any]) -> None:
    """However it turns and scales them, the picture is the same one."""
    shown = read(part10(instance(stored, **others))).displayed(0)

    assert 1 >= np.abs(shown.astype(int) - GREY.astype(int)).max()


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_half_a_rescale_is_refused(keyword: str) -> None:
    """The window would be of values that nobody knows."""
    others: dict[str, Any] = {keyword: 2}
    source = read(part10(instance(GREY, WindowCenter=128, WindowWidth=256, **others)))

    with pytest.raises(ImageUndecodable, match="rescale"):
        source.displayed(0)


@pytest.mark.parametrize(("bits", "planar"), [(8, 1), (12, 0), (16, 0), (16, 1)])
def test_colours_become_their_8_highest_bits(bits: int, planar: int) -> None:
    """Of 12 stored bits too; whether the colours of a pixel lie side by side or not."""
    stored: NDArray[Any] = np.repeat(GREY[..., np.newaxis], 3, axis=2)
    if bits > 8:
        stored = stored.astype(np.uint16) << (bits - 8)
    made = instance(stored, BitsStored=bits, HighBit=bits - 1, PlanarConfiguration=planar)
    if planar:
        made.PixelData = np.ascontiguousarray(stored.transpose(2, 0, 1)).tobytes()

    np.testing.assert_array_equal(read(part10(made)).displayed(0)[..., 1], GREY)


def test_colours_that_two_pixels_share_are_read() -> None:
    """YBR_FULL_422 that is not compressed: two of brightness, then one of each colour."""
    shared = np.full((128, 80, 4), 128, np.uint8)
    shared[..., 0], shared[..., 1] = GREY[:, 0::2], GREY[:, 1::2]
    made = instance(GREY, PhotometricInterpretation="YBR_FULL_422", SamplesPerPixel=3, PlanarConfiguration=0)
    made.PixelData = shared.tobytes()

    np.testing.assert_array_equal(read(part10(made)).displayed(0)[..., 0], GREY)


@pytest.mark.parametrize(
    "keyword",
    ["Rows", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"],
)
def test_what_a_header_lacks_is_named(keyword: str) -> None:
    """So that whoever looks after the machine knows."""
    made = instance(GREY)
    del made[keyword]
    with pytest.raises(ImageUndecodable, match=f"lacks {keyword}"):
        read(part10(made))


def test_a_palette_is_looked_up() -> None:
    """Stored values are places in it."""
    made = instance(np.full((40, 40), 7, np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for number, colour in enumerate(("Red", "Green", "Blue"), 1):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = np.zeros(256, "<u2")
        table[7] = 0x1100 * number
        setattr(made, f"{colour}PaletteColorLookupTableData", table.tobytes())

    assert [0x11, 0x22, 0x33] == read(part10(made)).displayed(0)[20, 20].tolist()


@pytest.mark.requirement("PACS-1")
def test_the_tissue_is_what_is_analysed() -> None:
    """Cropped to it, in millimetres of its own; the curve beside it is not looked at."""
    curve = region((0, 0, 159, 20), RegionSpatialFormat=3, RegionDataType=3)
    picture = read(part10(instance(GREY, regions=[curve, region((20, 30, 119, 109))]))).picture(0)

    np.testing.assert_array_equal(picture.image.pixels, GREY[30:110, 20:120])
    assert picture.image.spacing is not None
    assert (0.1, 0.1) == pytest.approx((picture.image.spacing.row_mm, picture.image.spacing.column_mm))
    assert (30, 20) == (picture.top, picture.left)
    assert (128, 160) == picture.whole.pixels.shape


def test_without_regions_all_is_analysed_and_nothing_is_measured_in_millimetres() -> None:
    """What the instance does not say is not invented; the answer says so."""
    source = read(part10(instance(GREY)))

    assert source.spacing is None
    assert "region_unknown" in source.findings


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (instance(GREY, SOPClassUID=CT, Modality="CT"), NotUltrasound),
        (instance(GREY, SOPClassUID=SECONDARY_CAPTURE, Modality="OT"), NotUltrasound),
        (instance(GREY, regions=[region((0, 0, 150, 100), RegionSpatialFormat=3)]), NoTissueRegion),
        (instance(GREY, regions=[region((0, 0, 150, 100), RegionDataType=2)]), NoTissueRegion),
        (instance(GREY, ImageType=["ORIGINAL", "PRIMARY", "", "0008"]), NoTissueRegion),
        (instance(GREY, Rows=60_000, Columns=60_000), TooManyPixels),
        (instance(GREY, NumberOfFrames=5000), TooManyPixels),
        (instance(GREY, Rows=200), ImageUndecodable),
        (instance(GREY, Rows=0), ImageUndecodable),
        (instance(GREY, BitsAllocated=32), TransferSyntaxUnsupported),
        (instance(GREY, PhotometricInterpretation="HSV"), TransferSyntaxUnsupported),
        (instance(GREY.astype(np.uint16) << 4, BitsStored=12, HighBit=15), TransferSyntaxUnsupported),
    ],
)
@pytest.mark.requirement("PACS-2")
def test_what_cannot_be_segmented_is_refused_for_what_it_is(made: Dataset, error: type[Exception]) -> None:
    """By an error of its own, which says nothing of the patient."""
    with pytest.raises(error) as raised:
        read(part10(made))
    assert PATIENT_ID not in str(raised.value)


def test_an_instance_without_pixels_is_refused() -> None:
    """Such as a report that says it is an ultrasound."""
    made = instance(GREY)
    del made.PixelData
    with pytest.raises(NoPixels):
        read(part10(made))


def test_a_capture_of_an_ultrasound_is_taken() -> None:
    """Many machines store nothing else."""
    assert 128 == read(part10(instance(GREY, SOPClassUID=SECONDARY_CAPTURE))).rows


@pytest.mark.parametrize("length", [0, 100, 131, 140, 300, 800])
def test_a_truncated_file_is_refused(length: int) -> None:
    """Wherever it ends."""
    with pytest.raises((ImageUndecodable, NotUltrasound, NoPixels)):
        read(part10(instance(GREY))[:length])


def test_a_deflated_file_that_is_truncated_is_refused() -> None:
    """For what it is, though what was inflated so far would pass for an instance without pixels."""
    with pytest.raises(ImageUndecodable, match="truncated"):
        read(part10(instance(GREY), DeflatedExplicitVRLittleEndian)[:700])


def test_a_file_that_inflates_without_end_is_refused() -> None:
    """A gigabyte of zeros in a megabyte is not unpacked."""
    content = part10(instance(GREY), DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join([deflater.compress(bytes(1_000_000)) for _ in range(30)]) + deflater.flush()

    with pytest.raises(TooManyPixels, match="inflates"):
        read(_meta_only(content) + bomb)


def _meta_only(content: bytes) -> bytes:
    """The file up to the end of its meta information, whose length its first element tells."""
    return content[: 144 + int.from_bytes(content[140:144], "little")]


def test_a_file_of_countless_elements_is_refused() -> None:
    """A million empty private elements would take a core for half a minute."""
    content = part10(instance(GREY))
    elements = b"".join(
        (0x0009).to_bytes(2, "little") + (number % 65536).to_bytes(2, "little") + b"LO\0\0" for number in range(300_000)
    )

    with pytest.raises(ImageUndecodable, match="more elements"):
        read(_meta_only(content) + elements)


def test_a_decoder_that_dies_takes_nothing_with_it(decoder: DecoderProcess) -> None:
    """A frame that is no JPEG is refused, and the next one is decoded."""
    made = instance(GREY)
    made.PixelData = encapsulate([b"\xff\xd8\xff\xe0 no JPEG after all"])
    made["PixelData"].is_undefined_length = True
    broken = read(part10(made, JPEGBaseline8Bit), decoder)
    with pytest.raises(ImageUndecodable):
        broken.displayed(0)

    process = decoder._running()
    process.kill()
    process.wait()
    np.testing.assert_array_equal(read(compressed(RLELossless), decoder).displayed(0), GREY)


def test_a_decoder_that_is_ended_from_outside_says_nothing_of_the_frame() -> None:
    """As the kernel does for want of memory: a job has to try again, and not to give the image up."""
    decoder = Ended()
    source = read(compressed(RLELossless), decoder)
    try:
        with pytest.raises(DecoderUnavailable):
            source.displayed(0)
        np.testing.assert_array_equal(source.displayed(0), GREY)
    finally:
        decoder.close()


class Ended(DecoderProcess):
    """Its first process is killed once it has been started."""

    def __init__(self) -> None:
        super().__init__()
        self._starts = 0

    def _running(self) -> subprocess.Popen[bytes]:
        process = super()._running()
        self._starts += 1
        if self._starts == 1:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return process


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGSEGV)", "os.kill(os.getpid(), signal.SIGPROF)"])
def test_a_decoder_that_crashes_or_takes_too_long_was_given_a_damaged_frame(ending: str) -> None:
    """The same frame would end the next one too."""
    decoder = Crashing(f"import os, signal, sys; sys.stdin.buffer.read(4); {ending}")
    source = read(compressed(RLELossless), decoder)
    try:
        with pytest.raises(ImageUndecodable):
            source.displayed(0)
    finally:
        decoder.close()


class Crashing(DecoderProcess):
    """Runs other code in place of the decoder."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def _running(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process
