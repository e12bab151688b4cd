"""How large the lesions of a label map are, where they are, and how sure the network was of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from efsnet.grid import bounding_box, nearest
from efsnet.image import PixelSpacing
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import EIGHT
from efsnet.specification import ClassSpecification

STRIP_ROWS = 1024
"""Rows whose probabilities are gathered at a time: those of a lesion that fills 25 megapixels would take 200 MB."""

STRIP_POINTS = 8192
"""Points of an outline that are looked at in all directions at a time: those of 65,535 rows would take 400 MB."""

# Directions one degree apart: a longest axis between two of them comes out short by 0.004 %.
_SINES, _COSINES = np.sin(np.radians(np.arange(180))), np.cos(np.radians(np.arange(180)))


@dataclass(frozen=True, slots=True)
class Axes:
    """The longest axis of a lesion, and its width across it, as a reader sets the callipers.

    The longest axis is the maximum Feret diameter: the largest distance between two parallel tangents. The width is
    the distance between the two tangents along that axis. Outlines run through the middles of pixel sides, so that a
    straight row of n pixels is n long (as scikit-image's `feret_diameter_max`). Directions are one degree apart.
    """

    longest: float
    across: float


@dataclass(frozen=True, slots=True)
class Lesion:
    """Pixels of one class that touch, also by a corner."""

    number: int
    """From 1, the largest lesion first."""
    class_number: int
    label: str
    """Of its class."""
    pixels: int
    fraction: float
    """Share of the image."""
    area_mm2: float | None
    """None where the pixel spacing is unknown, as all that is in millimetres."""
    axes_px: Axes
    axes_mm: Axes | None
    bbox_xywh: tuple[int, int, int, int]
    """First column, first row, columns, rows: from 0, the whole pixels of the lesion."""
    centroid_xy: tuple[float, float]
    """Mean column and row; 0 is the centre of the first pixel."""
    mean_confidence: float
    """Mean probability of its class over its pixels, each as the network gave it for the pixel it came from."""


@dataclass(frozen=True, slots=True)
class ClassArea:
    """All pixels of one class."""

    number: int
    label: str
    pixels: int
    fraction: float
    """Share of the image."""
    area_mm2: float | None
    mean_confidence: float | None
    """As of a lesion; None where the class is absent."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is in a label map."""

    classes: tuple[ClassArea, ...]
    """Every lesion class, also those that are absent."""
    lesions: tuple[Lesion, ...]
    """The largest first."""

    def moved(self, rows: int, columns: int) -> "Measurement":
        """The same on a larger grid, where the measured one begins so many rows and columns later.

        Shares stay those of the measured grid.
        """
        return replace(self, lesions=tuple(_moved(lesion, rows, columns) for lesion in self.lesions))


def measure(
    label_map: LabelMap,
    *,
    probability_map: ProbabilityMap,
    classes: Sequence[ClassSpecification],
    spacing: PixelSpacing | None,
) -> Measurement:
    """Measures the lesions of a label map.

    Args:
        label_map: On any grid that covers the image.
        probability_map: What the label map was made of, on the network's grid.
        classes: The specification's, background included.
        spacing: Of the label map's grid.
    """
    components = _components(label_map, probability_map, classes)
    components.sort(key=lambda component: -component.pixels)
    size = label_map.array.size
    lesions = tuple(_lesion(number, component, size, spacing) for number, component in enumerate(components, 1))
    return Measurement(tuple(_class_area(each, lesions, size, spacing) for each in classes[1:]), lesions)


def _moved(lesion: Lesion, rows: int, columns: int) -> Lesion:
    column, row, width, height = lesion.bbox_xywh
    x, y = lesion.centroid_xy
    return replace(lesion, bbox_xywh=(column + columns, row + rows, width, height), centroid_xy=(x + columns, y + rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Component:
    """Connected pixels of one class, within their bounding box."""

    mask: NDArray[np.bool_]
    row: int
    """Of the label map, where the mask begins."""
    column: int
    specification: ClassSpecification
    confidence: float
    pixels: int


def _components(
    label_map: LabelMap, probability_map: ProbabilityMap, classes: Sequence[ClassSpecification]
) -> list[_Component]:
    rows, columns = bounding_box(label_map.array)
    held = label_map.array[rows, columns]
    source_rows = nearest(probability_map.array.shape[1], label_map.rows)[rows]
    source_columns = nearest(probability_map.array.shape[2], label_map.columns)[columns]
    components = []
    for specification in classes[1:]:
        probabilities = probability_map.array[specification.number]
        for mask, box_rows, box_columns in _connected(held == specification.number):
            pixels = int(np.count_nonzero(mask))
            total = _total(probabilities, mask, source_rows[box_rows], source_columns[box_columns])
            components.append(
                _Component(
                    mask,
                    row=rows.start + box_rows.start,
                    column=columns.start + box_columns.start,
                    specification=specification,
                    confidence=total / pixels,
                    pixels=pixels,
                )
            )
    return components


def _connected(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], slice, slice]]:
    """Each part of a mask that hangs together, within its bounding box, and the rows and columns of that.

    What it takes to find them, four bytes a pixel, is given back before the next class has its turn.
    """
    numbered, count = ndimage.label(mask, EIGHT)
    boxes = ndimage.find_objects(numbered) if count else []
    return [(numbered[box] == number, *box) for number, box in enumerate(boxes, 1)]


def _total(
    probabilities: NDArray[np.float32], mask: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> float:
    """Sum of the probabilities under a mask, each of whose rows and columns lies in one of theirs."""
    total = 0.0
    for start in range(0, len(mask), STRIP_ROWS):
        strip = slice(start, start + STRIP_ROWS)
        by_rows = probabilities.take(rows[strip], axis=0)
        total += float(by_rows.take(columns, axis=1)[mask[strip]].sum(dtype=np.float64))
    return total


def _lesion(number: int, component: _Component, size: int, spacing: PixelSpacing | None) -> Lesion:
    mask, pixels = component.mask, component.pixels
    rows, columns = mask.shape
    return Lesion(
        number=number,
        class_number=component.specification.number,
        label=component.specification.label,
        pixels=pixels,
        fraction=pixels / size,
        area_mm2=_area_mm2(pixels, spacing),
        axes_px=_axes(mask, (1.0, 1.0)),
        axes_mm=None if spacing is None else _axes(mask, (spacing.row_mm, spacing.column_mm)),
        bbox_xywh=(component.column, component.row, columns, rows),
        centroid_xy=(
            component.column + float(mask.sum(axis=0) @ np.arange(columns)) / pixels,
            component.row + float(mask.sum(axis=1) @ np.arange(rows)) / pixels,
        ),
        mean_confidence=component.confidence,
    )


def _class_area(
    specification: ClassSpecification, lesions: Sequence[Lesion], size: int, spacing: PixelSpacing | None
) -> ClassArea:
    own = [lesion for lesion in lesions if lesion.class_number == specification.number]
    pixels = sum(lesion.pixels for lesion in own)
    return ClassArea(
        number=specification.number,
        label=specification.label,
        pixels=pixels,
        fraction=pixels / size,
        area_mm2=_area_mm2(pixels, spacing),
        mean_confidence=sum(lesion.pixels * lesion.mean_confidence for lesion in own) / pixels if own else None,
    )


def _area_mm2(pixels: int, spacing: PixelSpacing | None) -> float | None:
    return None if spacing is None else pixels * spacing.row_mm * spacing.column_mm


def _axes(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> Axes:
    """Of a connected mask in its bounding box; spacing is (row, column)."""
    rows, columns = mask.shape
    row, column = np.arange(rows), np.arange(columns)
    # The outermost sides of each row and column: no other point of the outline touches a tangent.
    outline = np.concatenate(
        [
            np.stack([row, mask.argmax(axis=1) - 0.5], axis=1),
            np.stack([row, columns - 0.5 - mask[:, ::-1].argmax(axis=1)], axis=1),
            np.stack([mask.argmax(axis=0) - 0.5, column], axis=1),
            np.stack([rows - 0.5 - mask[::-1].argmax(axis=0), column], axis=1),
        ]
    )
    lowest, highest = np.full(180, np.inf), np.full(180, -np.inf)
    for start in range(0, len(outline), STRIP_POINTS):
        strip = outline[start : start + STRIP_POINTS]
        # Not @, which would wake the threads of a BLAS for a fraction of a millisecond's work.
        along = np.multiply.outer(_SINES * spacing[0], strip[:, 0])
        along += np.multiply.outer(_COSINES * spacing[1], strip[:, 1])
        np.minimum(lowest, along.min(axis=1), out=lowest)
        np.maximum(highest, along.max(axis=1), out=highest)
    extents = highest - lowest
    longest = int(extents.argmax())
    return Axes(longest=float(extents[longest]), across=float(extents[(longest + 90) % 180]))
