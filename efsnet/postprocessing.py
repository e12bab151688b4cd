"""From a probability map to a label map: thresholds, lesions and their classes."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from efsnet.errors import GeometryError
from efsnet.grid import bounding_box, nearest
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.specification import PostProcessing

EIGHT = np.ones((3, 3), dtype=np.bool_)
"""Pixels that touch by a side or a corner belong to the same lesion."""


def to_label_map(probability_map: ProbabilityMap, rules: PostProcessing) -> LabelMap:
    """The class of each pixel, on the grid of the probability map.

    A pixel is tumour if the probabilities of all lesion classes together reach the threshold. Tumour pixels that touch,
    also by a corner, are one lesion. Of equally probable classes the one with the higher number is taken: the manifest
    numbers them by gravity, so a doubt goes to the graver one.
    """
    probabilities = probability_map.array
    label_map = np.zeros(probabilities.shape[1:], dtype=np.uint8)
    tumour = probability_map.tumour >= rules.tumour_threshold
    # Most of an image is background: what follows looks at the part that holds tumour alone.
    box = bounding_box(tumour)
    inside = tumour[box]
    if rules.fill_holes:
        inside = _without_holes(inside)
    lesions, count = ndimage.label(inside, EIGHT)
    of_lesion = probabilities[(slice(1, None), *box)]
    areas = np.bincount(lesions.ravel(), minlength=count + 1)
    kept = areas >= rules.minimum_area_fraction * label_map.size
    if rules.one_class_per_lesion:
        sums = [np.bincount(lesions.ravel(), each.ravel(), minlength=count + 1) for each in of_lesion]
        classes = _most_probable(np.stack(sums))[lesions]
    else:
        classes = _most_probable(of_lesion)
    label_map[box] = np.where(inside & kept[lesions], classes, 0)
    return LabelMap(label_map)


def to_grid(label_map: LabelMap, rows: int, columns: int) -> LabelMap:
    """The label map stretched to another grid; each pixel takes the class of the one that its centre lies in.

    Raises:
        GeometryError: rows or columns are less than 1.
    """
    if rows < 1 or columns < 1:
        raise GeometryError(f"A grid has at least one row and column, not {rows} x {columns}.")
    if (rows, columns) == label_map.array.shape:
        return label_map
    # What holds no tumour is background on any grid: only the rest is looked up.
    held_rows, held_columns = bounding_box(label_map.array)
    by_rows, to_rows = _within(nearest(label_map.rows, rows), held_rows)
    by_columns, to_columns = _within(nearest(label_map.columns, columns), held_columns)
    stretched = np.zeros((rows, columns), dtype=np.uint8)
    stretched[to_rows, to_columns] = label_map.array.take(by_rows, axis=0).take(by_columns, axis=1)
    return LabelMap(stretched)


def _within(sources: NDArray[np.intp], held: slice) -> tuple[NDArray[np.intp], slice]:
    """Of ascending sources those that are held, and where among all they are."""
    start, stop = sources.searchsorted((held.start, held.stop))
    return sources[start:stop], slice(start, stop)


def _without_holes(tumour: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All that is not joined to the outside by background pixels that share a side."""
    background, _ = ndimage.label(~np.pad(tumour, 1))
    filled: NDArray[np.bool_] = (background != background[0, 0])[1:-1, 1:-1]
    return filled


def _most_probable(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Number of the most probable lesion class: from (lesion classes, …) to (…)."""
    numbers = np.ones(probabilities.shape[1:], dtype=np.uint8)
    best = probabilities[0]
    for number, each in enumerate(probabilities[1:], 2):
        numbers[each >= best] = number
        best = np.maximum(each, best)
    return numbers
