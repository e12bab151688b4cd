"""The three arrays that travel through the product, each a type of its own so that none is taken for another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityMap:
    """Probability of each class at each pixel: (classes, rows, columns) float32 in [0, 1], on the network's grid."""

    array: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.shape[0] < 2 or self.array.dtype != np.float32:
            raise ArrayInvalid(
                "A probability map is (classes >= 2, rows, columns) float32, "
                f"got {self.array.shape} {self.array.dtype}."
            )

    @property
    def tumour(self) -> NDArray[np.float32]:
        """Probability that a pixel is of any class but background: (rows, columns) float32 in [0, 1]."""
        tumour: NDArray[np.float32] = self.array[1:].sum(axis=0)
        return tumour


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Class number of each pixel, 0 is background: (rows, columns) uint8."""

    array: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.array.ndim != 2 or self.array.dtype != np.uint8:
            raise ArrayInvalid(f"A label map is (rows, columns) uint8, got {self.array.shape} {self.array.dtype}.")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    def placed(self, rows: int, columns: int, top: int, left: int) -> "LabelMap":
        """This map on a grid of (rows, columns) around it, which is background; it begins at `top` and `left`, from 0.

        Raises:
            ArrayInvalid: it does not lie within that grid.
        """
        if min(top, left) < 0 or top + self.rows > rows or left + self.columns > columns:
            raise ArrayInvalid(f"{self.rows} x {self.columns} at {top}, {left} is not within {rows} x {columns}.")
        whole = np.zeros((rows, columns), dtype=np.uint8)
        whole[top : top + self.rows, left : left + self.columns] = self.array
        return LabelMap(whole)

    def mask(self, class_number: int) -> NDArray[np.bool_]:
        """Where the map holds this class: (rows, columns) bool."""
        mask: NDArray[np.bool_] = self.array == class_number
        return mask
