"""An upload becomes a grey image: the one place where foreign bytes are decoded.

Nothing here looks at an image's own brightness: the same stored value gives the same grey value in every file.
"""

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ExifTags, ImageChops, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    STRIPOFFSETS,
    TILEOFFSETS,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from efsnet.errors import (
    ArrayInvalid,
    GeometryError,
    ImageError,
    ImageFormatUnsupported,
    ImageHasSeveralFrames,
    ImageUndecodable,
    TooManyPixels,
)

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""The formats that are taken."""

MAX_SIDE = 65_535
"""Rows or columns that are taken at most: JPEG's limit. Resizing needs memory in proportion to a side."""

MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten scans, and each costs a pass over the whole picture however few bytes it has."""

MAX_TIFF_STRIPS = 65_535
"""A strip of a TIFF holds a row at least; millions of tiny ones cost hundreds of bytes of memory each to list."""

SMALL_SIDE = 128
"""Images with fewer rows or columns are magnified so much that the network sees little but blur."""

FLAT_DEVIATION = 4.0
"""Standard deviation of the grey values, of 255, below which an image shows hardly anything."""

COLOUR_DIFFERENCE = 24
"""Difference of two colour channels, of 255, from which a pixel counts as coloured: more than JPEG's noise."""

COLOUR_SHARE = 0.001
"""Share of coloured pixels from which an image counts as coloured."""

# What Pillow calls the layouts of pixels that are taken.
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B"}

# (offset, signature, name) of what people also send; the rest is no image.
_OTHERS = (
    (0, b"GIF8", "GIF"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"<?xml", "SVG or other XML"),
    (0, b"<svg", "SVG"),
    (4, b"ftyp", "HEIF, AVIF or video"),
    (4, b"jP  ", "JPEG 2000"),
    (8, b"WEBP", "WebP"),
    (128, b"DICM", "DICOM"),
)

# Pillow warns of odd metadata, which is dropped and never read here; the log is not for it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Finding(StrEnum):
    """What a reader of the answer should know about the image; the stable codes of warnings."""

    COLOUR = "colour"
    """Coloured pixels, as in Doppler images; the network sees their luma."""
    TRANSPARENCY = "transparency"
    """Transparent pixels were laid over black."""
    SIXTEEN_BIT = "sixteen_bit"
    """Only the high byte of each grey value is used."""
    ROTATED_BY_EXIF = "rotated_by_exif"
    """Rows and columns are those after the rotation or mirroring that the file asks for."""
    SMALL = "small_image"
    """Fewer than SMALL_SIDE rows or columns."""
    FLAT = "flat_image"
    """Hardly any contrast: black, saturated or empty."""


@dataclass(frozen=True, slots=True)
class PixelSpacing:
    """Distance between pixel centres in millimetres: DICOM Pixel Spacing (0028,0030).

    Raises:
        GeometryError: a distance that is not above zero, or not finite.
    """

    row_mm: float
    """Between rows, downwards: DICOM's first value."""
    column_mm: float
    """Between columns, to the right: DICOM's second value."""

    def __post_init__(self) -> None:
        if not (0 < self.row_mm < math.inf and 0 < self.column_mm < math.inf):
            raise GeometryError(f"Pixel spacing is above zero and finite, got {self.row_mm}, {self.column_mm} mm.")


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A grey image: (rows, columns) uint8, 0 is black."""

    pixels: NDArray[np.uint8]
    spacing: PixelSpacing | None = None
    findings: tuple[str, ...] = ()
    """Codes of what was found when decoding; `Finding` has those of this package."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.size == 0 or self.pixels.dtype != np.uint8:
            raise ArrayInvalid(
                f"An image is (rows, columns) uint8 and not empty, got {self.pixels.shape} {self.pixels.dtype}."
            )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.pixels)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])

    def spacing_on(self, rows: int, columns: int) -> PixelSpacing | None:
        """The spacing once the image is stretched to another grid; None if it is unknown."""
        if self.spacing is None:
            return None
        return PixelSpacing(self.spacing.row_mm * self.rows / rows, self.spacing.column_mm * self.columns / columns)


def decode_image(data: bytes, *, max_pixels: int = 25_000_000, spacing: PixelSpacing | None = None) -> Image:
    """The grey image in a PNG, JPEG, BMP or TIFF file.

    Colour becomes ITU-R 601 luma, transparent becomes black, more than 8 bits become their 8 highest, and an EXIF
    rotation is done.

    Args:
        data: The whole file.
        max_pixels: Rows times columns that are taken at most, told from the header before anything is decoded.
        spacing: Of the decoded image, after any rotation, when the caller knows it.

    Raises:
        ImageUndecodable: `data` is empty, truncated, damaged, or no image.
        ImageFormatUnsupported: `data` is of another format, or its pixels are not 8 or 16 bit whole numbers.
        ImageHasSeveralFrames: a TIFF of several pages, or an animated PNG.
        TooManyPixels: the image has more than `max_pixels`, or a side longer than MAX_SIDE.
        MemoryError: there is not enough memory for it.
    """
    file = _opened(data)
    _check_header(file, max_pixels)
    try:
        rotated = file.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
        file.load()
        ImageOps.exif_transpose(file, in_place=True)
        grey, findings = _grey(file)
        if _has_low_bytes(file, data):
            findings.append(Finding.SIXTEEN_BIT)
    except MemoryError:
        raise  # which says nothing of the image
    except Exception as error:
        raise ImageUndecodable("The image is truncated or damaged. Save it anew.") from error
    if rotated:
        findings.append(Finding.ROTATED_BY_EXIF)
    return Image(grey, spacing, (*findings, *_pixel_findings(grey)))


def image_from_pixels(
    pixels: NDArray[np.uint8], *, spacing: PixelSpacing | None = None, findings: tuple[str, ...] = ()
) -> Image:
    """The grey image of pixels that another decoder gave; colour becomes ITU-R 601 luma, as in a file.

    Args:
        pixels: (rows, columns) grey, or (rows, columns, 3) red, green and blue.
        spacing: Of the image, if it is known.
        findings: Codes of what was found when decoding.
    """
    if pixels.ndim == 2:
        return Image(pixels, spacing, (*findings, *_pixel_findings(pixels)))
    colours = PIL.Image.fromarray(pixels)
    coloured = (Finding.COLOUR,) if _is_coloured(colours) else ()
    grey = np.asarray(colours.convert("L"))
    return Image(grey, spacing, (*findings, *coloured, *_pixel_findings(grey)))


def pixels_of(data: bytes) -> int:
    """Rows times columns of the image in a file, told from its header.

    Raises:
        ImageUndecodable: `data` is empty, no image, or has a damaged header.
        ImageFormatUnsupported: `data` is of another format.
    """
    columns, rows = _opened(data).size
    return rows * columns


def _opened(data: bytes) -> ImageFile:
    """The file with its header read, and no pixel decoded."""
    opener = _opener(data)
    # Damaged bytes lead Pillow's decoders to nearly any exception: OSError, SyntaxError, struct.error, KeyError, …
    try:
        return opener(io.BytesIO(data))
    except ImageError:
        raise
    except Exception as error:  # its text may quote the file, which belongs to a patient
        raise ImageUndecodable("The image's header is truncated or damaged. Save it anew.") from error


def _open_jpeg(stream: io.BytesIO) -> ImageFile:
    if stream.getvalue().count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise ImageUndecodable(f"The JPEG has more than {MAX_JPEG_SCANS} scans. Save it anew.")
    return JpegImageFile(stream)


def _open_tiff(stream: io.BytesIO) -> ImageFile:
    directory = ImageFileDirectory_v2(stream.read(8))
    stream.seek(directory.next)
    directory.load(stream)
    if max(len(directory.get(tag, ())) for tag in (STRIPOFFSETS, TILEOFFSETS)) > MAX_TIFF_STRIPS:
        raise ImageUndecodable(f"The TIFF has more than {MAX_TIFF_STRIPS} strips. Save it anew.")
    stream.seek(0)
    return TiffImageFile(stream)


# Not PIL.Image.open: it warns of large images by a limit of its own, and hides why a damaged file was refused.
_OPENERS: dict[bytes, Callable[[io.BytesIO], ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": _open_jpeg,
    b"BM": BmpImageFile,
    b"II*\0": _open_tiff,
    b"MM\0*": _open_tiff,
}


def _opener(data: bytes) -> Callable[[io.BytesIO], ImageFile]:
    for signature, opener in _OPENERS.items():
        if data.startswith(signature):
            return opener
    for offset, signature, name in _OTHERS:
        if data.startswith(signature, offset):
            raise ImageFormatUnsupported(f"This is {name}; taken are {', '.join(FORMATS)}.")
    raise ImageUndecodable(f"This is no image of a known format; taken are {', '.join(FORMATS)}.")


def _check_header(file: ImageFile, max_pixels: int) -> None:
    columns, rows = file.size
    if rows * columns > max_pixels or max(rows, columns) > MAX_SIDE:
        raise TooManyPixels(
            f"An image has at most {max_pixels} pixels, and {MAX_SIDE} rows or columns; this has {rows} x {columns}."
        )
    if getattr(file, "is_animated", False):
        raise ImageHasSeveralFrames("The file holds several pictures: send the one to segment.")
    if file.mode not in _MODES:
        raise ImageFormatUnsupported(f"Pixels are taken as grey, colour or palette of 8 or 16 bits, not {file.mode}.")


def _has_low_bytes(file: ImageFile, data: bytes) -> bool:
    """Whether the stored values have more than 8 bits: of colours, Pillow drops the low ones without a word."""
    if isinstance(file, TiffImageFile):
        return bool(max(file.tag_v2.get(BITSPERSAMPLE, (1,))) > 8)
    return isinstance(file, PngImageFile) and data[24] == 16  # the bit depth in IHDR, which comes first


def _grey(file: ImageFile) -> tuple[NDArray[np.uint8], list[str]]:
    if file.mode.startswith("I;16"):
        return _high_byte(file), []
    if file.mode in ("1", "L") and not file.has_transparency_data:
        return np.asarray(file.convert("L")), []
    findings: list[str] = []
    mode = "RGBA" if file.has_transparency_data else "RGB"
    colours = file if file.mode == mode else file.convert(mode)
    grey = colours.convert("L")
    if _is_coloured(colours):
        findings.append(Finding.COLOUR)
    if colours.mode == "RGBA":
        alpha = colours.getchannel("A")
        if alpha.getextrema() != (255, 255):
            grey = ImageChops.multiply(grey, alpha)
            findings.append(Finding.TRANSPARENCY)
    return np.asarray(grey), findings


def _high_byte(file: ImageFile) -> NDArray[np.uint8]:
    grey = np.asarray(file)
    # Two things of TIFF are left to the reader: 12 bits that stay below 4096, and a scale on which white is 0.
    tags = file.tag_v2 if isinstance(file, TiffImageFile) else {}
    bits = 12 if tags.get(BITSPERSAMPLE) == (12,) else 16
    high = (grey >> (bits - 8)).astype(np.uint8)
    return ~high if tags.get(PHOTOMETRIC_INTERPRETATION) == 0 else high


def _is_coloured(colours: PIL.Image.Image) -> bool:
    sample = colours.resize((-(-colours.width // 4), -(-colours.height // 4)), PIL.Image.Resampling.NEAREST)
    if sample.mode == "RGBA":
        sample = sample.convert("RGBa")  # premultiplied: a colour that cannot be seen does not count
    red, green, blue = np.moveaxis(np.asarray(sample), 2, 0)[:3].astype(np.int16)
    coloured = (abs(red - green) >= COLOUR_DIFFERENCE) | (abs(blue - green) >= COLOUR_DIFFERENCE)
    return bool(coloured.mean() >= COLOUR_SHARE)


def _pixel_findings(grey: NDArray[np.uint8]) -> list[str]:
    findings: list[str] = []
    if min(grey.shape) < SMALL_SIDE:
        findings.append(Finding.SMALL)
    if grey[::4, ::4].std() < FLAT_DEVIATION:
        findings.append(Finding.FLAT)
    return findings
