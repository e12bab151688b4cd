"""Which part of an ultrasound picture is tissue, and how large its pixels are (PS3.3 C.8.5.5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from efsnet.errors import GeometryError
from efsnet.image import PixelSpacing

TWO_DIMENSIONAL = 1
"""Region Spatial Format (0018,6012): a picture, and no curve."""

TISSUE, COLOUR_FLOW = 1, 2
"""Region Data Type (0018,6014)."""

CENTIMETRES = 3
"""Physical Units (0018,6024) and (0018,6026)."""

FIELD_OF_VIEW_MM = (0.5, 1000.0)
"""Rows and columns of a region, in millimetres: a spacing by which they have less or more is a slip, as of a unit."""

SMALLEST_SIDE = 16
"""Rows and columns that a region has at least: fewer are a slip, or nothing to see."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of whole pixels."""

    top: int
    left: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.top, self.left) < 0 or min(self.rows, self.columns) < 1:
            raise GeometryError(f"A region begins at 0 or later and holds a pixel, got {self}.")


@dataclass(frozen=True, slots=True)
class RegionChoice:
    """What is analysed of a picture."""

    region: Region
    spacing: PixelSpacing | None
    """Of the region; None unless the instance states it."""
    stated: bool
    """Whether the instance says where its regions are."""
    several: bool = False
    """Whether there are other regions of tissue, which are left out."""
    colour_flow: bool = False
    """Whether another region that is no tissue, of colour flow, covers part of this one."""


def choose_region(items: Sequence[Any], rows: int, columns: int) -> RegionChoice | None:
    """The largest two-dimensional region of tissue; the whole picture where nothing is said of regions.

    Args:
        items: Of the Sequence of Ultrasound Regions (0018,6011), data sets.
        rows: Of the picture.
        columns: Of the picture.

    Returns:
        None if there are regions, and none of them is a picture of tissue: curves, or colour flow alone.
    """
    if not items:
        return RegionChoice(Region(0, 0, rows, columns), None, stated=False)
    pictures = [item for item in items if _number(item, "RegionSpatialFormat") == TWO_DIMENSIONAL]
    of_type = {
        wanted: [
            (item, region)
            for item in pictures
            if _number(item, "RegionDataType") == wanted and (region := _bounds(item, rows, columns)) is not None
        ]
        for wanted in (TISSUE, COLOUR_FLOW)
    }
    if not of_type[TISSUE]:
        return None
    # Of equally large ones the first: the order is the instance's own.
    item, region = max(of_type[TISSUE], key=lambda found: found[1].rows * found[1].columns)
    choice = RegionChoice(region, _spacing(item, region), stated=True, several=len({r for _, r in of_type[TISSUE]}) > 1)
    return replace(choice, colour_flow=any(_overlap(region, other) for _, other in of_type[COLOUR_FLOW]))


def _number(item: Any, keyword: str) -> float | None:
    try:
        number = float(item[keyword].value)
    except Exception:  # noqa: BLE001 - a value is parsed when it is asked for, and may be anything
        return None
    return number if math.isfinite(number) else None


def _bounds(item: Any, rows: int, columns: int) -> Region | None:
    """The part of a region that lies within the picture; its last row and column belong to it."""
    corners = [_number(item, f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    if any(corner is None for corner in corners):
        return None
    left, top, right, bottom = (int(corner) for corner in corners if corner is not None)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, columns - 1), min(bottom, rows - 1)
    if right - left + 1 < SMALLEST_SIDE or bottom - top + 1 < SMALLEST_SIDE:
        return None
    return Region(top, left, bottom - top + 1, right - left + 1)


def _spacing(item: Any, region: Region) -> PixelSpacing | None:
    """Centimetres a pixel in both directions, or nothing; a negative delta tells a direction, not a distance."""
    units = [_number(item, f"PhysicalUnits{axis}Direction") for axis in "XY"]
    deltas = [_number(item, f"PhysicalDelta{axis}") for axis in "XY"]
    if units != [CENTIMETRES, CENTIMETRES] or deltas[0] is None or deltas[1] is None:
        return None
    row_mm, column_mm = abs(deltas[1]) * 10, abs(deltas[0]) * 10
    low, high = FIELD_OF_VIEW_MM
    if not (low <= row_mm * region.rows <= high and low <= column_mm * region.columns <= high):
        return None
    return PixelSpacing(row_mm, column_mm)


def _overlap(one: Region, other: Region) -> bool:
    return (
        one.top < other.top + other.rows
        and other.top < one.top + one.rows
        and one.left < other.left + other.columns
        and other.left < one.left + one.columns
    )
