"""How images and answers lay where a version was measured, so that drift can be told."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from efsnet.specification import Part

BRIGHTNESS_EDGES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1.0)
SHARE_EDGES = (0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.25, 0.4, 1.0)
CONFIDENCE_EDGES = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
"""Of the bins in which versions made here are measured."""


class Distribution(Part):
    """How a measure lies over images: the share of them in each bin."""

    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=100)]
    """Upper bounds of the bins, ascending; each bin holds its bound, and the last all above the one before."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    @model_validator(mode="after")
    def _has_a_share_for_each_bin(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges ascend")
        if len(self.shares) != len(self.edges) or abs(sum(self.shares) - 1) > 0.001:
            raise ValueError("there is a share for each bin, and they make up 1")
        return self


class Baseline(Part):
    """How images and answers lay where the version was measured: what a hospital's own are compared with."""

    images: Annotated[int, Field(ge=1)]
    brightness: Distribution
    """Of the images: mean grey value, from 0 to 1."""
    class_fraction: Mapping[str, Distribution]
    """Of the answers, by the label of each lesion class: its share of the image."""
    mask_confidence: Mapping[str, Distribution]
    """Mean confidence of each class, over the images that have it."""
