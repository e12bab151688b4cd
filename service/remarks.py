"""What a reader of an answer should know about the image: told beside every mask, as its warnings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efsnet.domain import breast_ultrasound, on_grid
from efsnet.image import Finding, Image
from efsnet.specification import InputSpecification

STRETCH = 2.0
"""Change of the aspect ratio from which it is told; BUSI's images are changed by up to 2.05."""

_DETAILS: dict[str, str] = {
    Finding.COLOUR: "The image has colours; the network sees their brightness only. It was trained on grey images.",
    Finding.TRANSPARENCY: "Transparent pixels were taken for black.",
    Finding.SIXTEEN_BIT: "The image has more than 8 bits a pixel; the 8 highest are used.",
    Finding.ROTATED_BY_EXIF: "The image was turned as its EXIF orientation says; rows and columns are those after it.",
    Finding.SMALL: "The image is so small that the network sees mostly blur.",
    "region_unknown": "The instance does not say where its picture is; all of it was analysed, text and scales too.",
    "several_regions": "The instance has several pictures of tissue; the largest was analysed.",
    "doppler": "Colours of blood flow lie over the picture; the network was trained without.",
    "burned_in_annotation": "The instance says that text or marks are drawn into its pixels; they may be marked too.",
    Finding.FLAT: "The image has hardly any contrast: it is black, saturated or empty.",
    "not_like_breast_ultrasound": "The texture is not that of a breast ultrasound as the network knows them: a mask "
    "of a photograph, a page, another modality or several pictures in one means nothing.",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One such thing."""

    code: str
    detail: str


def remarks(image: Image, tensor: NDArray[np.uint8], grid: InputSpecification) -> tuple[Remark, ...]:
    """All that there is to tell of an image that was resized to this input, as the tensor (1, rows, columns) uint8."""
    found = list(image.findings)
    if Finding.FLAT not in found and not breast_ultrasound().holds(on_grid(image, tensor)):
        found.append("not_like_breast_ultrasound")
    told = [Remark(finding, _DETAILS[finding]) for finding in found]
    stretch = (image.columns / image.rows) / (grid.columns / grid.rows)
    if not 1 / STRETCH <= stretch <= STRETCH:
        told.append(
            Remark(
                "aspect_ratio_changed",
                f"The image of {image.rows} rows and {image.columns} columns was stretched to "
                f"{grid.rows} x {grid.columns}; shapes so far from those trained on are less reliable.",
            )
        )
    return tuple(told)
