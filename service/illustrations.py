"""Pictures beside an answer, for a page that shows it: what the network saw, and how sure it was where."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import PIL.Image

from service.segmentation import Segmentation

JPEG_QUALITY = 90
"""Of the frames of a cine, of which there may be hundreds in one answer."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Which pictures are asked for."""

    pictures: bool = False
    probabilities: bool = False


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Illustrations:
    """As data URLs (RFC 2397); None where they were not asked for."""

    picture: str | None = None
    """The whole image in grey, as PNG, or as JPEG in a cine."""
    tumour_probability: str | None = None
    """A grey PNG on the network's grid: 255 is the probability 1 of a tumour of any class."""


NONE = Illustrations()


def illustrate(segmentation: Segmentation, extras: Extras, *, lossless: bool = True) -> Illustrations:
    """The pictures that were asked for."""
    picture = tumour = None
    if extras.pictures:
        image = PIL.Image.fromarray(segmentation.image.pixels)
        picture = _png(image) if lossless else _data_url(image, "JPEG", quality=JPEG_QUALITY)
    if extras.probabilities:
        shares = np.rint(segmentation.probability_map.tumour * 255)
        tumour = _png(PIL.Image.fromarray(shares.clip(0, 255).astype(np.uint8)))
    return Illustrations(picture, tumour)


def _png(image: PIL.Image.Image) -> str:
    return _data_url(image, "PNG", compress_level=1)


def _data_url(image: PIL.Image.Image, kind: str, **options: int) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
