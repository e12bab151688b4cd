"""Small pictures of cases with the predicted and the reference outline, to be set into a page."""

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.maps import LabelMap
from efsnet.postprocessing import to_grid
from training.datasets.records import Record
from training.evaluation.cases import Case, EvaluationFolder

SIDE = 256
"""Pixels of the longer side."""

JPEG_QUALITY = 75


@dataclass(frozen=True, slots=True)
class Picture:
    """A case as people see it."""

    case: Case
    columns: int
    rows: int
    jpeg: str
    """Base64 of the grey image."""
    predicted: str
    """SVG path of the outlines of the predicted lesions, in half pixels; empty if there are none."""
    reference: str


def picture(case: Case, record: Record, folders: Sequence[EvaluationFolder]) -> Picture | None:
    """The picture of a case; None if no folder has its label map.

    Args:
        case: Which one.
        record: Its image and reference.
        folders: Where its label map is looked for, in this order.
    """
    file = next((path for each in folders if (path := each.label_map_file(case.key)).is_file()), None)
    if file is None:
        return None
    pixels = record.read_image().pixels
    factor = SIDE / max(pixels.shape)
    rows, columns = (max(1, round(side * factor)) for side in pixels.shape)
    with PIL.Image.open(file, formats=["PNG"]) as palette:
        predicted = LabelMap(np.asarray(palette))
    outlines = (
        outline_path(to_grid(label_map, rows, columns).array > 0)
        for label_map in (predicted, LabelMap(record.read_reference()))
    )
    return Picture(case, columns, rows, _jpeg(pixels, rows, columns), *outlines)


def outline_path(mask: NDArray[np.bool_]) -> str:
    """The borders of a mask as an SVG path of closed lines, in half pixels from the image's corner.

    It joins the middles of the pixel sides between inside and outside, so that slanting borders are straight.
    """
    return "".join(f"M{'L'.join(f'{x} {y}' for x, y in line)}Z" for line in _lines(mask))


def _lines(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Closed lines of (column, row) in half pixels, the inside to the right of each."""
    padded = np.pad(mask, 1).astype(np.int8)
    onward: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    across, down = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    for row, column in np.argwhere(across).tolist():
        ends = [(column, row), (column + 1, row)]
        start, end = ends if across[row, column] > 0 else ends[::-1]
        onward[start].append(end)
    for row, column in np.argwhere(down).tolist():
        ends = [(column, row + 1), (column, row)]
        start, end = ends if down[row, column] > 0 else ends[::-1]
        onward[start].append(end)
    lines = []
    while onward:
        start = corner = next(iter(onward))
        middles = []
        while True:
            following = onward[corner].pop()
            if not onward[corner]:
                del onward[corner]
            middles.append((corner[0] + following[0], corner[1] + following[1]))
            corner = following
            if corner == start:
                break
        lines.append(_without_straight(middles))
    return lines


def _without_straight(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The points at which a closed line turns."""
    before, after = [points[-1], *points[:-1]], [*points[1:], points[0]]
    return [
        here
        for back, here, ahead in zip(before, points, after, strict=True)
        if (here[0] - back[0], here[1] - back[1]) != (ahead[0] - here[0], ahead[1] - here[1])
    ]


def _jpeg(pixels: NDArray[np.uint8], rows: int, columns: int) -> str:
    file = io.BytesIO()
    resized = PIL.Image.fromarray(pixels).resize((columns, rows), PIL.Image.Resampling.BILINEAR)
    resized.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode()
