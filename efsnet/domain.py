"""Whether an image looks like the breast ultrasounds of the public sets: six measures of its texture.

Speckle, layers that lie across, and a beam that blurs sideways leave their traces in how grey values change from pixel
to pixel. Images of another kind differ in some of these measures, or in how they go together: the squared Mahalanobis
distance from the training images tells both. What limit it has, and what it was fitted to, stands in `domain.json`,
made by `python -m training domain`; docs/decisions/0018 tells how the measures were chosen.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self, TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.image import Image
from efsnet.preprocessing import to_input
from efsnet.specification import InputSpecification

IntegerT = TypeVar("IntegerT", np.int16, np.int32)

GRID = InputSpecification(rows=512, columns=512, resize="stretch", filter="bilinear", value_range=(0.0, 1.0))
"""On which an image is looked at: that of the default version, whatever the version at hand takes."""

MEASURES = (
    "roughness",
    "roughness_downwards",
    "fineness_downwards",
    "contrast_of_blocks",
    "layering",
    "seam",
)


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Where the measures of known images lie.

    Raises:
        ArrayInvalid: not one mean, and one row and column of the inverse covariance, for each of MEASURES.
    """

    means: NDArray[np.float64]
    """(measures,)"""
    inverse_covariance: NDArray[np.float64]
    """(measures, measures)"""
    limit: float
    """Squared distance beyond which an image does not look like the known ones."""

    def __post_init__(self) -> None:
        count = len(MEASURES)
        if self.means.shape != (count,) or self.inverse_covariance.shape != (count, count):
            raise ArrayInvalid(f"A domain has {count} means and a {count} x {count} inverse covariance.")

    @classmethod
    def fitted(cls, measures: NDArray[np.float64], limit: float) -> Self:
        """The domain of images whose measures are (images, measures): their mean and sample covariance."""
        covariance = np.cov(measures, rowvar=False)
        return cls(measures.mean(axis=0), np.linalg.inv(covariance).astype(np.float64), limit)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The domain that `str` wrote."""
        content = json.loads(text)
        return cls(np.array(content["means"]), np.array(content["inverse_covariance"]), content["limit"])

    def __str__(self) -> str:
        content = {
            "measures": MEASURES,
            "means": self.means.tolist(),
            "inverse_covariance": self.inverse_covariance.tolist(),
            "limit": self.limit,
        }
        return json.dumps(content, indent=2) + "\n"

    def distances(self, measures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance of each of (images, measures)."""
        away = measures - self.means
        distances: NDArray[np.float64] = np.einsum("ij,jk,ik->i", away, self.inverse_covariance, away)
        return distances

    def holds(self, tensor: NDArray[np.uint8]) -> bool:
        """Whether an image on GRID, (1, 512, 512) uint8, is within the limit."""
        return bool(self.distances(measures_of(tensor)[np.newaxis])[0] <= self.limit)


@cache
def breast_ultrasound() -> Domain:
    """The domain of BUSI and BUS-BRA, which ships."""
    return Domain.parse(files("efsnet").joinpath("domain.json").read_text(encoding="utf-8"))


def on_grid(image: Image, tensor: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image on GRID, (1, 512, 512) uint8: the tensor that a version takes, if that is the same."""
    return tensor if tensor.shape == (1, GRID.rows, GRID.columns) else to_input(image, GRID)


def measures_of(tensor: NDArray[np.uint8]) -> NDArray[np.float64]:
    """MEASURES of an image on GRID: (1, 512, 512) uint8 to (measures,).

    All are logarithms of ratios, so that they change little with an image's gain. What is added to a numerator or
    denominator, in grey values, keeps an image without any texture finite.
    """
    # At half the size, where speckle is the beam's own and not the file's compression. In whole numbers of two bytes:
    # nothing is rounded, and half as much memory is passed through as with floats.
    grey = np.asarray(PIL.Image.fromarray(tensor[0]).reduce(2)).astype(np.int16)
    sideways, downwards = np.diff(grey, axis=1), np.diff(grey, axis=0)
    bent_sideways, bent_downwards = np.diff(sideways, axis=1), np.diff(downwards, axis=0)
    curvature = _mean_size(bent_sideways[1:-1] + bent_downwards[:, 1:-1])
    of_sideways, of_downwards = _mean_size(sideways), _mean_size(downwards)
    halves = _sums_of_four(grey)
    blocks = _sums_of_four(halves)
    powers = _sums_of_four(_sums_of_four(np.square(grey, dtype=np.int32)))
    means = blocks / 16
    deviations = np.sqrt(powers / 16 - means * means)
    measures = {
        "roughness": _log_ratio(curvature, of_sideways + of_downwards, 0.5),
        "roughness_downwards": _log_ratio(_mean_size(bent_downwards), of_downwards, 0.5),
        "fineness_downwards": _log_ratio(of_downwards, _mean_size(np.diff(halves, axis=0)) / 4, 0.2),
        "contrast_of_blocks": math.log((np.median(deviations) + 0.3) / (np.median(means) + 4)),
        "layering": _log_ratio(_mean_size(np.diff(blocks, axis=0)) / 16, _mean_size(np.diff(blocks, axis=1)) / 16, 0.2),
        "seam": _seam(np.abs(downwards[:, ::2])),
    }
    return np.array([measures[name] for name in MEASURES])


def _sums_of_four(values: NDArray[IntegerT]) -> NDArray[IntegerT]:
    """The sum of each square of 2 x 2 values: (rows, columns) to half of each."""
    by_rows = values[::2] + values[1::2]
    return by_rows[:, ::2] + by_rows[:, 1::2]


def _mean_size(changes: NDArray[np.int16]) -> float:
    """Mean of the values without their signs."""
    return int(np.abs(changes).sum(dtype=np.int32)) / changes.size


def _seam(changes: NDArray[np.int16]) -> float:
    """The row along which most pixels change at once, against the usual one: where pictures meet, one above another."""
    of_rows = np.partition(changes, changes.shape[1] // 2, axis=1)[:, changes.shape[1] // 2]
    return _log_ratio(of_rows.max(), np.median(of_rows), 1)


def _log_ratio(of: float | np.floating, to: float | np.floating, least: float) -> float:
    return math.log((of + least) / (to + least))
