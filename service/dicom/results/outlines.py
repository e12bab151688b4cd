"""Lesions of a label map, one by one, and their outlines as DICOM draws them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from efsnet.maps import LabelMap
from efsnet.measurement import Lesion
from efsnet.postprocessing import EIGHT

MAX_POINTS = 1000
"""Of an outline: Graphic Data with an explicit VR has at most 65,534 bytes, which are 8,191 points."""


def lesion_mask(label_map: LabelMap, lesion: Lesion) -> NDArray[np.bool_]:
    """(rows, columns) bool: the pixels of one lesion that was measured in this label map."""
    column, row, columns, rows = lesion.bbox_xywh
    box = slice(row, row + rows), slice(column, column + columns)
    numbered, count = ndimage.label(label_map.array[box] == lesion.class_number, EIGHT)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    # Others of its class may reach into its bounding box; it alone has its number of pixels and fills the box.
    boxes = ndimage.find_objects(numbered)
    own = next(
        number
        for number in range(1, count + 1)
        if sizes[number] == lesion.pixels and boxes[number - 1] == (slice(0, rows), slice(0, columns))
    )
    mask = np.zeros(label_map.array.shape, dtype=np.bool_)
    mask[box] = numbered == own
    return mask


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(points, 2): columns and rows along the outer outline, closed, the last point being the first.

    Positions as in PS3.3 C.10.5 and C.18.6: 0, 0 is the outer corner of the first pixel, whose centre is 0.5, 0.5. The
    outline runs halfway between the centres of pixels inside and outside.
    """
    from contourpy import contour_generator

    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    # A border around, so that outlines close at the edge of the picture; half a pixel from corner to centre.
    padded = np.pad(mask[rows, columns], 1).astype(np.float64)
    lines = [np.asarray(line, dtype=np.float64) for line in contour_generator(z=padded).lines(0.5)]
    longest = max(lines, key=len) - 0.5 + (columns.start, rows.start)
    step = -(-(len(longest) - 1) // (MAX_POINTS - 1))
    points = longest[:-1:step]
    return np.asarray(np.clip(np.concatenate([points, points[:1]]), 0, mask.shape[::-1]))
