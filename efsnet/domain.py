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
from typing import Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.errors import ArrayInvalid
from efsnet.image import Image
from efsnet.preprocessing import to_input
from efsnet.specification import InputSpecification

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
    # At half the size, where speckle is the beam's own and not the file's compression.
    grey = np.asarray(PIL.Image.fromarray(tensor[0]).reduce(2), dtype=np.float32)
    sideways, downwards = np.diff(grey, axis=1), np.diff(grey, axis=0)
    bent_sideways, bent_downwards = np.diff(sideways, axis=1), np.diff(downwards, axis=0)
    curvature = np.abs(bent_sideways[1:-1] + bent_downwards[:, 1:-1]).mean()
    sideways, downwards = np.abs(sideways), np.abs(downwards)
    halves, blocks = _means(grey, 2), _means(grey, 4)
    deviations = np.sqrt(np.maximum(_means(grey * grey, 4) - blocks * blocks, 0))
    measures = {
        "roughness": _log_ratio(curvature, sideways.mean() + downwards.mean(), 0.5),
        "roughness_downwards": _log_ratio(np.abs(bent_downwards).mean(), downwards.mean(), 0.5),
        "fineness_downwards": _log_ratio(downwards.mean(), _change(halves, axis=0), 0.2),
        "contrast_of_blocks": math.log((np.median(deviations) + 0.3) / (np.median(blocks) + 4)),
        "layering": _log_ratio(_change(blocks, axis=0), _change(blocks, axis=1), 0.2),
        "seam": _seam(downwards[:, ::2]),
    }
    return np.array([measures[name] for name in MEASURES])


def _means(grey: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Of each square of pixels; Pillow takes a fifth of NumPy's time."""
    return np.asarray(PIL.Image.fromarray(grey).reduce(side))


def _change(grey: NDArray[np.float32], axis: int) -> float:
    """Mean difference of neighbours."""
    return float(np.abs(np.diff(grey, axis=axis)).mean())


def _seam(changes: NDArray[np.float32]) -> float:
    """The row along which most pixels change at once, against the usual one: where pictures meet, one above another."""
    of_rows = np.partition(changes, changes.shape[1] // 2, axis=1)[:, changes.shape[1] // 2]
    return _log_ratio(of_rows.max(), np.median(of_rows), 1)


def _log_ratio(of: float | np.floating, to: float | np.floating, least: float) -> float:
    return math.log((of + least) / (to + least))
