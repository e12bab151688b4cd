"""How a picture moved since the one before, and maps moved along with it.

The motion is a shift and a stretch of either axis, which is what the sliding and pressing of a probe, breathing and a
change of depth look like; a turn is not in it. It is found together with a change of gain, by least squares on small
copies of the pictures: the method of Lucas and Kanade (1981) with those six unknowns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Side of the squares whose mean is a pixel of the small copies. The sides of every network input are multiples."""

ROUNDS = 2
"""Of refinement: the second finds what the first, being linear, has missed."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where what is seen now was in the picture before: at `shift + stretch * place`, for rows and columns.

    Places are from -1, the first side of the picture, to 1, the last: the same on every grid.
    """

    row_shift: float = 0.0
    row_stretch: float = 1.0
    column_shift: float = 0.0
    column_stretch: float = 1.0

    def moved(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map of the picture before, as it is on the picture now: (…, rows, columns) float32, linear between pixels.

        What comes in from outside has the values of the nearest side.
        """
        by_rows = _taken(array, self.row_shift, self.row_stretch, axis=-2)
        return _taken(by_rows, self.column_shift, self.column_stretch, axis=-1)


STILL = Motion()


def small(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean grey values of a network input's squares: from (1, rows, columns) to (rows/8, columns/8) float32."""
    _, rows, columns = tensor.shape
    squares = tensor.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    # Rows first, in whole numbers: a third of the time of one mean over both.
    sums = squares.sum(axis=1, dtype=np.uint16).sum(axis=2, dtype=np.uint16)
    means: NDArray[np.float32] = sums.astype(np.float32) / BLOCK**2
    return means


def motion_between(before: NDArray[np.float32], now: NDArray[np.float32]) -> Motion:
    """The motion from one small copy to the next, both (rows, columns) float32; none where nothing tells it."""
    rows, columns = (np.linspace(-1, 1, 2 * side + 1, dtype=np.float32)[1::2] for side in now.shape)
    row_shift = row_slope = column_shift = column_slope = 0.0
    for _ in range(ROUNDS):
        found = Motion(row_shift, 1 + row_slope, column_shift, 1 + column_slope)
        aligned = found.moved(before)
        slopes = np.gradient((aligned + now) / 2)
        by_row, by_column = slopes[0] * (now.shape[0] / 2), slopes[1] * (now.shape[1] / 2)
        terms = (by_row, by_row * rows[:, np.newaxis], by_column, by_column * columns, aligned, np.ones_like(now))
        matrix = np.stack([term.ravel() for term in terms]).astype(np.float64)
        # A little resistance, for pictures without contrast in one direction or any.
        normal = matrix @ matrix.T + np.diag([1.0, 1.0, 1.0, 1.0, 1e-3, 1e-3])
        solved = np.linalg.solve(normal, matrix @ (now - aligned).ravel().astype(np.float64))
        row_shift += float(solved[0])
        row_slope += float(solved[1])
        column_shift += float(solved[2])
        column_slope += float(solved[3])
    return Motion(row_shift, 1 + row_slope, column_shift, 1 + column_slope)


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's correlation of two pictures, which a change of gain leaves alone; 1 if both are even, 0 if one is."""
    first, second = one - one.mean(), other - other.mean()
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if min(lengths) == 0:
        return float(lengths[0] == lengths[1])
    return float((first * second).sum()) / (lengths[0] * lengths[1])


def _taken(array: NDArray[np.float32], shift: float, stretch: float, *, axis: int) -> NDArray[np.float32]:
    """The map with one axis taken from `shift + stretch * place`."""
    side = array.shape[axis]
    if max(abs(shift), abs(stretch - 1)) * side < 0.02:  # of a pixel
        return array
    places = np.linspace(-1, 1, 2 * side + 1)[1::2]
    source = ((shift + stretch * places + 1) * side - 1) / 2
    source = source.clip(0, side - 1)
    first = np.minimum(source.astype(np.intp), side - 2)
    share = (source - first).astype(np.float32)
    if axis == -2:
        share = share[:, np.newaxis]
    low: NDArray[np.float32] = array.take(first, axis)
    high: NDArray[np.float32] = array.take(first + 1, axis)
    high -= low
    high *= share
    high += low
    return high
