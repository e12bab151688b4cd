"""One image of a data set with all that is known of it before a pixel is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efsnet.image import Image, decode_image

CLASS_NUMBERS = {"normal": 0, "benign": 1, "malignant": 2}
"""What the pixels of a mask become; a normal image has none."""

MASK_LEVEL = 127
"""Stored values of a mask above this are lesion; masks are 0 and 255, some saved with a little noise."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image, its masks, and the scene it shows.

    Args:
        name: Unique within its data set, a path with forward slashes: `benign/benign (1).png`.
        image: The image file.
        masks: The mask files, merged by union; of the image's own size.
        kind: `normal`, `benign` or `malignant`, of the image as a whole.
        scene: Images of one scene show the same view of the same breast; a scene is never on both sides of a split.
        contradictory: Its scene holds images of different kinds, so that its own kind is in doubt.
        remarks: What curators noted: `axilla`, `needle`, `measurement`, `text`, …
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    kind: str
    scene: str
    contradictory: bool = False
    remarks: tuple[str, ...] = ()

    def read_image(self) -> Image:
        """The decoded image."""
        return decode_image(self.image.read_bytes())

    def read_reference(self) -> NDArray[np.uint8]:
        """The expert's label map: (rows, columns) uint8 of class numbers, on the image's grid."""
        union = np.any([decode_image(mask.read_bytes()).pixels > MASK_LEVEL for mask in self.masks], axis=0)
        return np.asarray(union * CLASS_NUMBERS[self.kind], dtype=np.uint8)
