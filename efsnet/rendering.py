"""Label maps as pictures: PNG files that keep the class numbers, and images with the lesions drawn in."""

import io
from collections.abc import Sequence

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.grid import bounding_box
from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.specification import ClassSpecification

TINT = 0.25
"""Share of the class's colour inside a lesion; the image keeps the rest."""


def palette_png(label_map: LabelMap, classes: Sequence[ClassSpecification]) -> bytes:
    """A palette PNG of as few bits a pixel as hold the classes; a pixel's value is its class number.

    Raises:
        ArrayInvalid: the label map has a number that is no class's.
    """
    if label_map.array.max(initial=0) >= len(classes):
        raise ArrayInvalid(f"There are {len(classes)} classes, and the label map has {label_map.array.max()}.")
    image = PIL.Image.fromarray(label_map.array)
    image.putpalette([channel for each in classes for channel in each.colour])
    bits = next(bits for bits in (1, 2, 4, 8) if len(classes) <= 2**bits)
    return _png(image, bits=bits)


def overlay_png(image: Image, label_map: LabelMap, classes: Sequence[ClassSpecification]) -> bytes:
    """`overlay` as an RGB PNG file."""
    return _png(PIL.Image.fromarray(overlay(image, label_map, classes)), compress_level=1)


def overlay(image: Image, label_map: LabelMap, classes: Sequence[ClassSpecification]) -> NDArray[np.uint8]:
    """The image with each lesion tinted and outlined in the colour of its class: (rows, columns, 3) uint8.

    Raises:
        ArrayInvalid: image and label map are not on the same grid.
    """
    if image.pixels.shape != label_map.array.shape:
        raise ArrayInvalid(f"The image is {image.pixels.shape}, the label map {label_map.array.shape}.")
    drawn = np.repeat(image.pixels[:, :, np.newaxis], 3, axis=2)
    box = bounding_box(label_map.array)
    inside, labels, grey = drawn[box], label_map.array[box], PIL.Image.fromarray(image.pixels[box])
    width = 1 + max(drawn.shape) // 500
    for each in classes[1:]:
        mask = labels == each.number
        for channel, value in enumerate(each.colour):
            # By a table of the 256 grey values: as numbers, each pixel of a lesion would take 48 bytes.
            tinted = grey.point([int((1 - TINT) * stored + TINT * value) for stored in range(256)])
            np.copyto(inside[:, :, channel], np.asarray(tinted), where=mask)
        inside[mask & ~_eroded(mask, width)] = each.colour
    return drawn


def _eroded(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The mask without its outermost pixels, `width` of them deep."""
    for _ in range(width):
        around = np.pad(mask, 1)
        mask = mask & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask


def _png(image: PIL.Image.Image, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()
