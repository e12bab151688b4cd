"""What a site wants to have of the results."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from service.dicom.identity import Role

SERIES_NUMBERS: Mapping[Role, int] = MappingProxyType({"SEG": 9001, "SR": 9002, "SC": 9003, "PR": 9004})
"""Far behind those of the machine."""


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Which results there are, and how they are made."""

    outputs: frozenset[Role] = frozenset(("SEG", "SR"))
    geometry: bool = True
    """Whether segmentations of calibrated images have pixel measures and an orientation. The standard has them only
    with a frame of reference, which ultrasound lacks; OHIF does not show a segmentation without."""
    series_numbers: Mapping[Role, int] = field(default_factory=lambda: SERIES_NUMBERS)

    @property
    def digest(self) -> str:
        """Of all that changes what is in a result; another result beside it changes none."""
        text = f"geometry={self.geometry} series={sorted(self.series_numbers.items())}"
        return hashlib.sha256(text.encode("ascii")).hexdigest()


STANDARD = ResultOptions()
"""A segmentation and a report."""
