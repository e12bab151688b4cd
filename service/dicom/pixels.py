"""From stored values to what a viewer shows: grey or red, green and blue, 8 bits each (PS3.3 C.7.6.3, C.11)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from efsnet.errors import ImageUndecodable
from service.dicom.decoding import DecodedFrame, Layout, Pixels

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
PHOTOMETRIC = (*MONOCHROME, *COLOURS)
"""The photometric interpretations that are read."""


def has_transformation(header: Any) -> bool:
    """Whether the instance says how its stored values become grey values: rescale, window or a look-up table."""
    return any(
        keyword in header for keyword in ("WindowCenter", "VOILUTSequence", "RescaleSlope", "ModalityLUTSequence")
    )


def displayed(frame: DecodedFrame, layout: Layout, header: Any) -> NDArray[np.uint8]:
    """(rows, columns) grey values, or (rows, columns, 3) colours, 0 to 255, as the instance wants to be shown.

    More than 8 bits become their 8 highest. Nothing goes by how bright the frame is.

    Raises:
        ImageUndecodable: a look-up table or a window cannot be used.
    """
    from pydicom.pixels.processing import apply_color_lut

    if frame.photometric_interpretation in MONOCHROME:
        return _grey(frame.pixels, layout, header)
    pixels, bits = frame.pixels, layout.bits_stored
    if frame.photometric_interpretation == "PALETTE COLOR":
        try:
            pixels = apply_color_lut(pixels, header)
            bits = 8 * pixels.dtype.itemsize
        except Exception as error:
            raise ImageUndecodable("The colour palette cannot be used. Send the instance anew.") from error
    if pixels.shape != (layout.rows, layout.columns, 3):
        raise ImageUndecodable("The pixels have another number of colours than the header says.")
    shown: NDArray[np.uint8] = np.clip(pixels >> max(bits - 8, 0), 0, 255).astype(np.uint8)
    return shown


def _grey(pixels: Pixels, layout: Layout, header: Any) -> NDArray[np.uint8]:
    signed = bool(layout.pixel_representation)
    if not signed:
        # Bits above those stored may hold an overlay of the old kind, which is no grey value.
        pixels = pixels & pixels.dtype.type(2**layout.bits_stored - 1)
    lowest = -(2 ** (layout.bits_stored - 1)) if signed else 0
    values: NDArray[Any] = pixels
    low, high = float(lowest), float(lowest + 2**layout.bits_stored)
    if has_transformation(header):
        values, (low, high) = _transformed(pixels, (low, high), header)
    elif not signed and layout.bits_stored == 8 and pixels.dtype == np.uint8:
        return _upright(pixels.astype(np.uint8), layout)
    # The range has one value more than its highest, so that 16 bits become their high byte.
    scaled = np.floor((values.astype(np.float64) - low) * (256 / (high - low)))
    return _upright(np.clip(scaled, 0, 255).astype(np.uint8), layout)


def _upright(grey: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """With 0 for black: of MONOCHROME1 it is white."""
    return ~grey if layout.photometric_interpretation == "MONOCHROME1" else grey


def _transformed(pixels: Pixels, span: tuple[float, float], header: Any) -> tuple[NDArray[Any], tuple[float, float]]:
    """Values after the modality and the value of interest transformation; which is black, and which beyond white."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    try:
        values = apply_modality_lut(pixels, header)
        if "ModalityLUTSequence" in header:
            span = _span_of(header.ModalityLUTSequence[0])
        elif "RescaleSlope" in header or "RescaleIntercept" in header:
            # Both or neither (PS3.3 C.11.1): pydicom would pass over one alone, and a window would be of other values.
            slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
            span = span[0] * slope + intercept, span[1] * slope + intercept
        values = apply_voi_lut(values, header, index=0)
        if "VOILUTSequence" in header:
            span = _span_of(header.VOILUTSequence[0])
        elif None in (header.get("WindowCenter"), header.get("WindowWidth")):
            span = min(span), max(span)  # with a window, pydicom gives dark values the end that zero has become
    except Exception as error:
        raise ImageUndecodable(
            "Its window, rescale or look-up table cannot be used. Send the instance anew."
        ) from error
    if not (np.isfinite(values).all() and span[1] != span[0] and np.isfinite(span).all()):
        raise ImageUndecodable("Its window, rescale or look-up table cannot be used. Send the instance anew.")
    return values, span


def _span_of(table: Any) -> tuple[float, float]:
    """Of the values in a look-up table: as many bits as its descriptor says."""
    return 0.0, float(2 ** int(table.LUTDescriptor[2]))
