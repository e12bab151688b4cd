"""BUS-UCLM (Vallez et al., Scientific Data 12:242, 2025, doi:10.1038/s41597-025-04562-3; data: Mendeley 7fvgj4jsp7).

683 images of 38 women from Ciudad Real, Spain, with a Siemens ACUSON S2000; 419 are normal. Published layout:
`images/ALWI_000.png` and `masks/ALWI_000.png`, whose letters are the patient, and `INFO.csv`, which says what is burned
into an image. In a mask black is normal, green benign and red malignant.

Four images of the patient HESN, 002 to 005, have masks of another size in the published copy, and nothing says how one
lies on the other: they are not read. Any other mask of another size is a problem.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image as PillowImage

from efsnet.errors import ImageError
from efsnet.image import decode_image
from training.datasets.records import CLASS_NUMBERS, MASK_LEVEL, Record
from training.datasets.tables import read_table, tables_in
from training.errors import DatasetInvalid

NAME = "BUS-UCLM"
DEVICE = "Siemens ACUSON S2000"
INFORMATION = "INFO.csv"
UNREGISTERED = tuple(f"HESN_{number:03d}.png" for number in range(2, 6))
"""Images whose published masks are of another size."""

REMARKS = {"doppler": "doppler", "marks": "overlay", "combined": "combined"}
"""What a yes in a column of INFO.csv says of an image, if it has that column; `combined` is two images side by side."""

_FILE_NAME = re.compile(r"[A-Z]+_\d+\.png")


def is_bus_uclm(folder: Path) -> bool:
    """Whether a folder has this layout: a hospital's own has a table of another name, and seldom such file names."""
    masks = (folder / "masks").iterdir() if (folder / "masks").is_dir() else ()
    return (
        (folder / "images").is_dir()
        and all(table.name == INFORMATION for table in tables_in(folder, ".csv"))
        and any(_FILE_NAME.fullmatch(mask.name) for mask in masks)
    )


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
    remarks = _remarks(folder / INFORMATION) if (folder / INFORMATION).is_file() else {}
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
        record = _record(images[stem], masks[stem], int(reference.max()), remarks.get(images[stem].name, ()))
        if shape == reference.shape:
            records.append(record)
        elif record.name not in UNREGISTERED:
            problems.append(f"{masks[stem]}: {reference.shape} pixels, its image has {shape} (rows, columns).")
    if problems or not records:
        raise DatasetInvalid(folder, problems or [f"{folder}: no images."])
    return tuple(records)


def _remarks(table: Path) -> Mapping[str, tuple[str, ...]]:
    """What is burned into each image, by its file name."""
    return {
        row["image"]: tuple(remark for column, remark in REMARKS.items() if row.get(column).lower() == "yes")
        for row in read_table(table, ("Image",))
    }


def _record(image: Path, mask: Path, number: int, remarks: tuple[str, ...]) -> Record:
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
        remarks=remarks,
    )
