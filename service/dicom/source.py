"""An ultrasound instance as the network will see it: a DICOM file is read here, and nowhere else."""

import io
import logging
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from efsnet.errors import ImageUndecodable, TooManyPixels
from efsnet.image import MAX_SIDE, Finding, PixelSpacing, image_from_pixels
from service.dicom.decoder import COMPRESSED
from service.dicom.decoding import DAMAGED, SYNTAXES, DecoderProcess, Layout, decode_native
from service.dicom.pixels import COLOURS, PHOTOMETRIC, displayed, has_transformation
from service.dicom.regions import Region, RegionChoice, choose_region
from service.errors import FrameUnknown, NoPixels, NoTissueRegion, NotUltrasound, TransferSyntaxUnsupported
from service.segmentation import Picture

if TYPE_CHECKING:
    from pydicom import Dataset

MAGIC = b"DICM"
"""At byte 128 of each DICOM file (PS3.10 section 7.1)."""

ULTRASOUND = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound Image Storage
        "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound Multi-frame Image Storage
        "1.2.840.10008.5.1.4.1.1.6",  # both of before 1995, retired
        "1.2.840.10008.5.1.4.1.1.3",
    }
)
SECONDARY_CAPTURE = frozenset({f"1.2.840.10008.5.1.4.1.1.7{ending}" for ending in ("", ".1", ".2", ".3", ".4")})
"""Taken if their modality is ultrasound."""

IMPLICIT, DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
EXPLICIT, JPEG_EXTENDED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.51"
COLOURS_OF_THREE = frozenset(COLOURS) - {"PALETTE COLOR"}

TWO_D, COLOUR_DOPPLER = 0x0001, 0x0010 | 0x0020 | 0x0100
"""Flags in the fourth value of an ultrasound's Image Type (PS3.3 C.8.5.6.1.1)."""

MAX_READS = 200_000
"""Reads of a file while its elements are told apart: one or two for each, of which a cine has thousands. A file of
millions of tiny elements would keep a core busy for minutes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read."""

    max_pixels: int
    """Rows times columns of a frame."""
    max_frames: int
    max_bytes: int
    """Of a file, also after it was inflated."""


@dataclass(frozen=True, slots=True, eq=False)
class DicomSource:
    """An instance with pixels; frames are decoded when they are asked for, one at a time."""

    header: "Dataset"
    """All elements but the pixels; nobody changes it."""
    layout: Layout
    choice: RegionChoice
    transfer_syntax_uid: str
    findings: tuple[str, ...]
    """Codes of what was found in the header."""
    _pixel_data: bytes
    _decoder: DecoderProcess

    @property
    def region(self) -> Region:
        """What is analysed."""
        return self.choice.region

    @property
    def spacing(self) -> PixelSpacing | None:
        """Of the region; None if the instance does not state it."""
        return self.choice.spacing

    @property
    def rows(self) -> int:
        """Of the whole picture."""
        return self.layout.rows

    @property
    def columns(self) -> int:
        """Of the whole picture."""
        return self.layout.columns

    @property
    def number_of_frames(self) -> int:
        """1 of a still picture."""
        return self.layout.number_of_frames

    @property
    def sop_instance_uid(self) -> str:
        """Of the instance."""
        return str(self.header.get("SOPInstanceUID", ""))

    def displayed(self, frame_index: int) -> NDArray[np.uint8]:
        """The whole picture of a frame: (rows, columns) grey, or (rows, columns, 3) colours.

        Raises:
            FrameUnknown: there is no such frame.
            ImageUndecodable: its pixels are damaged.
        """
        if not 0 <= frame_index < self.number_of_frames:
            raise FrameUnknown(f"The instance has the frames 1 to {self.number_of_frames}.")
        if self.transfer_syntax_uid in COMPRESSED:
            frame = self._decoder.decode(self._compressed(frame_index), self._of_one_frame, self.transfer_syntax_uid)
        else:
            length = self.layout.frame_bytes
            stored = memoryview(self._pixel_data)[frame_index * length : (frame_index + 1) * length]
            frame = decode_native(stored, self._of_one_frame, self.transfer_syntax_uid)
        return displayed(frame, self.layout, self.header)

    def picture(self, frame_index: int, spacing: PixelSpacing | None = None) -> Picture:
        """The region of a frame, in grey, and the frame that it is part of.

        Args:
            frame_index: From 0.
            spacing: Given by a person, in place of the instance's own.

        Raises:
            FrameUnknown: there is no such frame.
            ImageUndecodable: its pixels are damaged.
        """
        region, spacing = self.region, spacing or self.spacing
        whole = self.displayed(frame_index)
        if (region.rows, region.columns) == whole.shape[:2]:
            image = image_from_pixels(whole, spacing=spacing, findings=self.findings)
            return Picture(image, image)
        part = whole[region.top : region.top + region.rows, region.left : region.left + region.columns]
        image = image_from_pixels(np.ascontiguousarray(part), spacing=spacing, findings=self.findings)
        return Picture(image, image_from_pixels(whole, spacing=spacing), region.top, region.left)

    @property
    def _of_one_frame(self) -> Layout:
        return replace(self.layout, number_of_frames=1)

    def _compressed(self, frame_index: int) -> bytes:
        from pydicom.encaps import get_frame

        try:
            return get_frame(self._pixel_data, frame_index, number_of_frames=self.number_of_frames)
        except Exception as error:
            raise ImageUndecodable(DAMAGED) from error


def is_dicom(data: bytes) -> bool:
    """Whether a file says that it is DICOM."""
    return data[128:132] == MAGIC


def read_source(data: bytes, limits: Limits, decoder: DecoderProcess) -> DicomSource:
    """The instance in a DICOM file.

    Args:
        data: The whole file.
        limits: How much is read.
        decoder: Of compressed frames.

    Raises:
        ImageUndecodable: `data` is truncated, damaged or no DICOM file.
        TooManyPixels: a frame has too many pixels, or there are too many frames.
        NotUltrasound: it is of another modality.
        NoTissueRegion: it has no picture of tissue: curves, or blood flow alone.
        NoPixels: it has no pixels.
        TransferSyntaxUnsupported: its pixels are compressed in a way, or of a kind, that is not read.
    """
    if not is_dicom(data):
        raise ImageUndecodable("This is no DICOM file: DICM is missing at byte 128.")
    header, syntax = _parsed(data, limits)
    _require_ultrasound(header)
    if "PixelData" not in header:
        raise NoPixels("The instance has no pixels to be segmented.")
    if syntax not in SYNTAXES:
        raise TransferSyntaxUnsupported(
            "Pixels of this transfer syntax are not read; docs/dicom-conformance.md lists those that are."
        )
    layout = _layout(header, limits)
    if syntax == JPEG_EXTENDED and layout.bits_stored > 8:
        raise TransferSyntaxUnsupported(
            "JPEG Extended of more than 8 bits is not read: have it sent in another syntax."
        )
    pixel_data = _pixel_data(header)
    if syntax not in COMPRESSED and len(pixel_data) < layout.frame_bytes * layout.number_of_frames:
        raise ImageUndecodable(DAMAGED)
    choice = _choice(header, layout)
    native = EXPLICIT if syntax == DEFLATED else syntax
    return DicomSource(header, layout, choice, native, _findings(header, layout, choice), pixel_data, decoder)


class _Reads(io.BytesIO):
    """A file that is not read without end."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise ImageUndecodable("The DICOM file has more elements than an image has. Send it anew.")
        return super().read(size)


def _parsed(data: bytes, limits: Limits) -> "tuple[Dataset, str]":
    """All elements, values unparsed until they are asked for, and the transfer syntax."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    # Values of patients stand in what pydicom warns of and logs.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = _Reads(data)
            file.seek(128 + len(MAGIC))
            meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)  # noqa: FBT003
            syntax = str(meta.TransferSyntaxUID)
            if syntax == DEFLATED:
                file = _Reads(_inflated(data[file.tell() :], limits.max_bytes))
            header = read_dataset(file, syntax == IMPLICIT, syntax != BIG_ENDIAN)
            header.file_meta = FileMetaDataset(meta)
            return header, syntax
    except (ImageUndecodable, TooManyPixels):
        raise
    except Exception as error:  # pydicom meets damaged bytes with nearly any; its text may name a patient
        raise ImageUndecodable("The DICOM file is truncated or damaged. Send it anew.") from error


def _inflated(data: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, max_bytes)
    if inflater.unconsumed_tail:
        raise TooManyPixels(f"The DICOM file inflates to more than {max_bytes:,} bytes.")
    if not inflater.eof:
        raise ImageUndecodable("The DICOM file is truncated. Send it anew.")
    return inflated


def _require_ultrasound(header: "Dataset") -> None:
    sop_class, modality = _text(header, "SOPClassUID"), _text(header, "Modality")
    if sop_class in ULTRASOUND or (sop_class in SECONDARY_CAPTURE and modality == "US"):
        return
    raise NotUltrasound(
        "Ultrasound images are taken, and secondary captures of the modality US; this is another object."
    )


def _layout(header: "Dataset", limits: Limits) -> Layout:
    """The Image Pixel module, checked before anything of that size is asked for."""
    photometric = _text(header, "PhotometricInterpretation")
    if not photometric:
        raise ImageUndecodable("The header lacks PhotometricInterpretation. Send the instance anew.")
    layout = Layout(
        rows=_whole(header, "Rows"),
        columns=_whole(header, "Columns"),
        samples_per_pixel=_whole(header, "SamplesPerPixel"),
        photometric_interpretation=photometric,
        bits_allocated=_whole(header, "BitsAllocated"),
        bits_stored=_whole(header, "BitsStored"),
        pixel_representation=_whole(header, "PixelRepresentation"),
        planar_configuration=_whole(header, "PlanarConfiguration", 0),
        number_of_frames=_whole(header, "NumberOfFrames", 1),
    )
    if (
        photometric not in PHOTOMETRIC
        or layout.bits_allocated not in (8, 16)
        or not 1 <= layout.bits_stored <= layout.bits_allocated
        or layout.samples_per_pixel != (3 if photometric in COLOURS_OF_THREE else 1)
        or layout.pixel_representation not in (0, 1)
    ):
        raise TransferSyntaxUnsupported("Pixels are taken as grey, colour or palette of 8 or 16 bits.")
    if layout.bits_allocated == 16 and _whole(header, "HighBit", layout.bits_stored - 1) != layout.bits_stored - 1:
        raise TransferSyntaxUnsupported("Pixels are taken whose HighBit is one less than their BitsStored.")
    if min(layout.rows, layout.columns, layout.number_of_frames) < 1:
        raise ImageUndecodable("Rows, columns and frames are at least 1. Send the instance anew.")
    if layout.rows * layout.columns > limits.max_pixels or max(layout.rows, layout.columns) > MAX_SIDE:
        raise TooManyPixels(
            f"A frame has at most {limits.max_pixels} pixels, and {MAX_SIDE} rows or columns; this has "
            f"{layout.rows} x {layout.columns}."
        )
    if layout.number_of_frames > limits.max_frames:
        raise TooManyPixels(f"An instance has at most {limits.max_frames} frames; this has {layout.number_of_frames}.")
    return layout


def _pixel_data(header: "Dataset") -> bytes:
    """The stored pixels, taken out of the header."""
    try:
        pixel_data = header.pop("PixelData").value
    except Exception as error:
        raise ImageUndecodable(DAMAGED) from error
    if not isinstance(pixel_data, bytes) or not pixel_data:
        raise ImageUndecodable(DAMAGED)
    return pixel_data


def _choice(header: "Dataset", layout: Layout) -> RegionChoice:
    try:
        items = list(header.get("SequenceOfUltrasoundRegions") or ())
    except Exception as error:
        raise ImageUndecodable("The ultrasound regions are damaged. Send the instance anew.") from error
    choice = choose_region(items, layout.rows, layout.columns)
    if choice is None or (not items and _shows_curves_alone(header)):
        raise NoTissueRegion("The instance has no two-dimensional picture of tissue: curves, or blood flow alone.")
    return choice


def _image_flags(header: "Dataset") -> int:
    """The fourth value of Image Type, 0 where there is none."""
    try:
        return int(header.ImageType[3], 16)
    except Exception:  # noqa: BLE001 - absent, short, or no number
        return 0


def _shows_curves_alone(header: "Dataset") -> bool:
    flags = _image_flags(header)
    return bool(flags) and not flags & TWO_D


def _findings(header: "Dataset", layout: Layout, choice: RegionChoice) -> tuple[str, ...]:
    found = {
        Finding.SIXTEEN_BIT: layout.bits_stored > 8 and not has_transformation(header),
        "region_unknown": not choice.stated,
        "several_regions": choice.several,
        "doppler": choice.colour_flow or bool(_image_flags(header) & COLOUR_DOPPLER),
        "burned_in_annotation": _text(header, "BurnedInAnnotation") == "YES",
    }
    return tuple(code for code, is_so in found.items() if is_so)


def _text(header: "Dataset", keyword: str) -> str:
    try:
        return str(header.get(keyword, "")).strip()
    except Exception:  # noqa: BLE001 - a value is parsed when it is asked for
        return ""


def _whole(header: "Dataset", keyword: str, default: int | None = None) -> int:
    try:
        value = header.get(keyword)
        number = default if value is None or value == "" else int(value)
    except Exception as error:
        raise ImageUndecodable(f"{keyword} of the header is no whole number. Send the instance anew.") from error
    if number is None:
        raise ImageUndecodable(f"The header lacks {keyword}. Send the instance anew.")
    return number
