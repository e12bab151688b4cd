"""BUS-UCLM (Vallez et al., Scientific Data 12:242, 2025, doi:10.1038/s41597-025-04562-3; data: Mendeley 7fvgj4jsp7).

683 images of 38 women from Ciudad Real, Spain, with a Siemens ACUSON S2000; 419 are normal. Published layout:
`images/ALWI_000.png` and `masks/ALWI_000.png`, whose letters are the patient. In a mask black is normal, green benign
and red malignant.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image as PillowImage

from efsnet.errors import ImageError
from efsnet.image import decode_image
from training.datasets.records import CLASS_NUMBERS, MASK_LEVEL, Record
from training.errors import DatasetInvalid

NAME = "BUS-UCLM"
DEVICE = "Siemens ACUSON S2000"


def is_bus_uclm(folder: Path) -> bool:
    """Whether a folder has this layout; a hospital's own folder, with its table, is asked for first."""
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


@dataclass(frozen=True)
class ColouredRecord(Record):
    """A record whose mask says the class by its colour."""

    def read_reference(self) -> NDArray[np.uint8]:
        return class_numbers(self.masks[0])


def class_numbers(mask: Path) -> NDArray[np.uint8]:
    """(rows, columns) class numbers of a coloured mask.

    Raises:
        ValueError: a pixel is neither black, green nor red.
        OSError: it cannot be read.
    """
    with PillowImage.open(mask) as file:
        red, green, blue = np.moveaxis(np.asarray(file.convert("RGB")) > MASK_LEVEL, 2, 0)
    if (red & green).any() or blue.any():
        raise ValueError("a pixel is neither black, green nor red")
    return np.asarray(green * CLASS_NUMBERS["benign"] + red * CLASS_NUMBERS["malignant"], dtype=np.uint8)


def read_bus_uclm(folder: Path) -> tuple[Record, ...]:
    """All images, in order of their names.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    images = {path.stem: path for path in sorted((folder / "images").glob("*.png"))}
    masks = {path.stem: path for path in sorted((folder / "masks").glob("*.png"))}
    problems = [f"{images[stem]}: its mask is missing." for stem in sorted(images.keys() - masks.keys())]
    problems += [f"{masks[stem]}: a mask without its image." for stem in sorted(masks.keys() - images.keys())]
    records = []
    for stem in sorted(images.keys() & masks.keys()):
        try:
            reference = class_numbers(masks[stem])
            shape = decode_image(images[stem].read_bytes()).pixels.shape
        except (OSError, ValueError, ImageError, PIL.Image.DecompressionBombError) as error:
            problems.append(f"{images[stem]}: it or its mask cannot be read: {error}.")
            continue
        if shape != reference.shape:
            problems.append(f"{masks[stem]}: {reference.shape} pixels, its image has {shape} (rows, columns).")
        records.append(_record(images[stem], masks[stem], int(reference.max())))
    if problems or not records:
        raise DatasetInvalid(folder, problems or [f"{folder}: no images."])
    return tuple(records)


def _record(image: Path, mask: Path, number: int) -> Record:
    """Of an image whose gravest class has this number."""
    return ColouredRecord(
        name=image.name,
        image=image,
        masks=(mask,),
        kind=list(CLASS_NUMBERS)[number],
        scene=image.stem,
        dataset=NAME,
        patient=image.stem.partition("_")[0],
        device=DEVICE,
    )
