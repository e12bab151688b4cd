"""What became of an instance: of each frame a label map, and what was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efsnet import rle
from efsnet.image import Image, PixelSpacing, image_from_pixels
from efsnet.maps import LabelMap
from efsnet.measurement import Measurement
from efsnet.rle import RunLengths
from model_store.loading import LoadedVersion
from service.dicom.source import DicomSource
from service.illustrations import NONE, Illustrations
from service.remarks import Remark
from service.segmentation import MaskSpace, Segmentation


@dataclass(frozen=True, slots=True, eq=False)
class FrameFinding:
    """What was found in one frame."""

    frame_index: int
    """From 0."""
    rows: int
    columns: int
    masks: Mapping[int, RunLengths]
    """Of each lesion class, by its number; a cine has hundreds of frames, so they are kept packed."""
    measurement: Measurement
    """Positions are on the whole picture; shares are of the region that was analysed."""
    remarks: tuple[Remark, ...]
    seconds: Mapping[str, float]
    """Time of each stage, by its name."""
    illustrations: Illustrations = NONE

    @classmethod
    def of(cls, frame_index: int, segmentation: Segmentation, illustrations: Illustrations = NONE) -> "FrameFinding":
        """Of what became of the frame's picture."""
        label_map = segmentation.label_map
        classes = segmentation.measurement.classes
        return cls(
            frame_index,
            label_map.rows,
            label_map.columns,
            {area.number: rle.encode(label_map.mask(area.number)) for area in classes},
            segmentation.measurement,
            segmentation.remarks,
            segmentation.seconds,
            illustrations,
        )

    @property
    def label_map(self) -> LabelMap:
        """On the grid of the whole picture, or the network's if that was asked for; 0 outside of the region."""
        label_map = np.zeros((self.rows, self.columns), dtype=np.uint8)
        for number in self.masks:
            label_map[self.mask(number)] = number
        return LabelMap(label_map)

    def mask(self, number: int) -> NDArray[np.bool_]:
        """(rows, columns) bool: the pixels of a lesion class, on the same grid."""
        return rle.decode(self.masks[number])

    @property
    def largest_lesion_pixels(self) -> int:
        """Of the largest lesion; 0 if there is none."""
        return max((lesion.pixels for lesion in self.measurement.lesions), default=0)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Of all frames of an instance, or of the one that was asked for."""

    source: DicomSource
    loaded: LoadedVersion
    """What analysed it: the version, its predictor and engine."""
    findings: tuple[FrameFinding, ...]
    """In the order of the frames; at least one."""
    spacing: PixelSpacing | None
    """Of the region that was analysed: given by a person, or the instance's own."""
    mask_space: MaskSpace = "original"

    @property
    def found(self) -> bool:
        """Whether there is a lesion in any frame."""
        return any(finding.measurement.lesions for finding in self.findings)

    @property
    def key_finding(self) -> FrameFinding:
        """Of the frame with the largest lesion; of the first one where there is none."""
        return max(self.findings, key=lambda finding: finding.largest_lesion_pixels)

    @property
    def key_frame_index(self) -> int:
        """Of that frame, from 0."""
        return self.key_finding.frame_index

    def picture(self, finding: FrameFinding) -> Image:
        """The whole picture that a finding is of, decoded again.

        Raises:
            ImageUndecodable: the frame's pixels are damaged.
        """
        return image_from_pixels(self.source.displayed(finding.frame_index), spacing=self.spacing)
