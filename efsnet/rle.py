"""COCO's compressed run lengths: down the columns, first the pixels outside the mask.

Source: pycocotools, mask.pyx and maskApi.c. Unrelated to DICOM's RLE Lossless.
"""

import re
import warnings
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from efsnet.errors import ArrayInvalid
from efsnet.grid import bounding_box

_COUNTS = re.compile(r"([P-o]{0,6}[0-O])*")
"""Each number in groups of five bits, from "0" on, and from "P" on where another group follows: 35 bits at most.

pycocotools takes its C code past the end of a text that ends within a number.
"""


class RunLengths(TypedDict):
    """A mask as COCO writes it in JSON."""

    size: list[int]
    """Rows and columns."""
    counts: str


def encode(mask: NDArray[np.bool_]) -> RunLengths:
    """The run lengths of a mask: (rows, columns) bool."""
    if mask.any():
        held = bounding_box(mask)
        # Turned where there is something to turn: of most masks that is a small part.
        down_columns = np.zeros(mask.shape, dtype=np.uint8, order="F")
        down_columns[held] = mask[held]
        encoded = coco.encode(down_columns)
    else:  # one run, and most masks are so: no pixel is looked at again
        rows, columns = mask.shape
        encoded = coco.frPyObjects({"size": [rows, columns], "counts": [rows * columns]}, rows, columns)
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def decode(run_lengths: RunLengths) -> NDArray[np.bool_]:
    """The mask of run lengths: (rows, columns) bool.

    Raises:
        ArrayInvalid: the runs do not add up to the size, or are not what `encode` would give.
    """
    if not _COUNTS.fullmatch(run_lengths["counts"]):
        raise ArrayInvalid("The runs are not written in COCO's own form.")
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of pycocotools by numpy
            mask: NDArray[np.bool_] = coco.decode(run_lengths).astype(np.bool_)
    except ValueError as error:
        raise ArrayInvalid(f"The runs are longer than {run_lengths['size']}.") from error
    # Runs that are too short leave pycocotools' memory as it was.
    if encode(mask) != run_lengths:
        raise ArrayInvalid(f"The runs are shorter than {run_lengths['size']}, or not in COCO's own form.")
    return mask
