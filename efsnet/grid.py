"""Pixels of one grid on another, and where on a grid there is anything at all."""

import numpy as np
from numpy.typing import NDArray


def bounding_box(array: NDArray[np.uint8] | NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest slices of rows and columns that hold all that is not 0; empty ones if all is 0."""
    rows = np.flatnonzero(array.any(axis=1))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    held = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(array[held].any(axis=0))
    return held, slice(int(columns[0]), int(columns[-1]) + 1)


def nearest(source: int, target: int) -> NDArray[np.intp]:
    """For each of `target` pixels along an axis, which of `source` pixels its centre lies in: (target,).

    In whole numbers, so that a centre on the border of two pixels falls to the same one on every machine.
    """
    return (2 * np.arange(target, dtype=np.intp) + 1) * source // (2 * target)
