"""One image of a data set with all that is known of it before a pixel is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efsnet.image import Image, PixelSpacing, decode_image

CLASS_NUMBERS = {"normal": 0, "benign": 1, "malignant": 2}
"""What the pixels of a mask become; a normal image has none."""

PUBLISHED = ("BUSI", "BUS-BRA", "BrEaST", "UDIAT", "OASBUD", "BUS-UCLM")
"""Names of the published sets that are read; no other set may bear one."""

MASK_LEVEL = 127
"""Stored values of a mask above this are lesion; masks are 0 and 255, some saved with a little noise."""


@dataclass(frozen=True)
class Record:
    """One image, its masks, and the scene it shows.

    Args:
        name: Unique within its data set, a path with forward slashes: `benign/benign (1).png`.
        image: The image file.
        masks: The mask files, merged by union; of the image's own size. Without any nothing is marked.
        kind: `normal`, `benign` or `malignant`, of the image as a whole.
        scene: Images of one scene show the same view of the same breast; one of them is tested.
        dataset: The published name of the set.
        patient: Unique within the data set, where the set names patients.
        device: The machine that made the image, where the set names it.
        spacing: Of the image's pixels, where the set gives it.
        contradictory: Its scene holds images of different kinds, so that its own kind is in doubt.
        remarks: What curators noted: `axilla`, `needle`, `measurement`, `text`, …
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    kind: str
    scene: str
    dataset: str = "BUSI"
    patient: str | None = None
    device: str | None = None
    spacing: PixelSpacing | None = None
    contradictory: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Unique in a mix of data sets."""
        return f"{self.dataset}/{self.name}"

    @property
    def group(self) -> str:
        """What is never on both sides of a split: all of a patient, or of a scene where no patients are named."""
        return f"{self.dataset}/{self.scene if self.patient is None else self.patient}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is read from."""
        return (self.image, *self.masks)

    def read_image(self) -> Image:
        """The decoded image."""
        return decode_image(self.image.read_bytes(), spacing=self.spacing)

    def read_reference(self) -> NDArray[np.uint8]:
        """The expert's label map: (rows, columns) uint8 of class numbers, on the image's grid."""
        if not self.masks:
            return np.zeros_like(self.read_image().pixels)
        union = np.any([decode_image(mask.read_bytes()).pixels > MASK_LEVEL for mask in self.masks], axis=0)
        return np.asarray(union * CLASS_NUMBERS[self.kind], dtype=np.uint8)
