"""COCO's compressed run lengths: down the columns, first the pixels outside the mask.

Source: pycocotools, mask.pyx and maskApi.c. Unrelated to DICOM's RLE Lossless.
"""

import warnings
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from efsnet.errors import ArrayInvalid


class RunLengths(TypedDict):
    """A mask as COCO writes it in JSON."""

    size: list[int]
    """Rows and columns."""
    counts: str


def encode(mask: NDArray[np.bool_]) -> RunLengths:
    """The run lengths of a mask: (rows, columns) bool."""
    if mask.any():
        encoded = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    else:  # one run, and most masks are so: no pixel is looked at again
        rows, columns = mask.shape
        encoded = coco.frPyObjects({"size": [rows, columns], "counts": [rows * columns]}, rows, columns)
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def decode(run_lengths: RunLengths) -> NDArray[np.bool_]:
    """The mask of run lengths: (rows, columns) bool.

    Raises:
        ArrayInvalid: the runs do not add up to the size, or are not what `encode` would give.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of pycocotools by numpy
            mask: NDArray[np.bool_] = coco.decode(run_lengths).astype(np.bool_)
    except ValueError as error:
        raise ArrayInvalid(f"The runs are longer than {run_lengths['size']}.") from error
    # Runs that are too short leave pycocotools' memory as it was.
    if encode(mask) != run_lengths:
        raise ArrayInvalid(f"The runs are shorter than {run_lengths['size']}, or not in COCO's own form.")
    return mask
