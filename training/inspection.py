"""What a data set holds: counts, sizes, duplicates, contradictions, class shares, and a picture of it all."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw
from rich.console import Console
from rich.table import Table

from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.rendering import overlay
from efsnet.specification import ClassSpecification
from training.datasets.checks import pixel_digest
from training.datasets.records import CLASS_NUMBERS, Record

SHARE_SIDE = 512
"""Images are resized to this many rows and columns before pixels are counted, as the thesis did."""

ENET_OFFSET = 1.02
"""Constant of ENet's class weights, 1 / ln(1.02 + share) (Paszke et al., 2016, section 5.2)."""

THUMBNAIL_SIDE = 128


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts of a data set.

    Args:
        images: Number of images of each kind.
        masks: Number of mask files of each kind.
        sides: Smallest, median and largest rows and columns: ((rows, columns), …).
        scenes: Number of scenes.
        groups: Number of patients, or of scenes where no patients are named.
        duplicates: Names of images of identical pixels, group by group.
        contradictory: Names of images whose scene holds images of another kind.
        shares: Share of all pixels of background, benign and malignant after resizing, in [0, 1].
    """

    images: Mapping[str, int]
    masks: Mapping[str, int]
    sides: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    scenes: int
    groups: int
    duplicates: tuple[tuple[str, ...], ...]
    contradictory: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def class_weights(self) -> tuple[float, ...]:
        """ENet's weights of background, benign and malignant in a cross-entropy."""
        return tuple(1 / math.log(ENET_OFFSET + share) for share in self.shares)


def inspect(records: Sequence[Record]) -> Inspection:
    """Reads every image and mask once."""
    digests = defaultdict(list)
    shapes = []
    pixels = np.zeros(len(CLASS_NUMBERS), dtype=np.int64)
    for record in records:
        digests[pixel_digest(record)].append(record.key)
        reference = record.read_reference()
        shapes.append(reference.shape)
        reference = _resized(reference, SHARE_SIDE, PillowImage.Resampling.NEAREST)
        pixels += np.bincount(reference.ravel(), minlength=len(pixels))
    rows, columns = (sorted(side) for side in zip(*shapes, strict=True))
    return Inspection(
        images=Counter(record.kind for record in records),
        masks=Counter(record.kind for record in records for _ in record.masks),
        sides=tuple((rows[at], columns[at]) for at in (0, len(rows) // 2, -1)),  # type: ignore[arg-type]
        scenes=len({(record.dataset, record.scene) for record in records}),
        groups=len({record.group for record in records}),
        duplicates=tuple(tuple(names) for names in digests.values() if len(names) > 1),
        contradictory=tuple(record.name for record in records if record.contradictory),
        shares=tuple(float(share) for share in pixels / pixels.sum()),
    )


def show(inspection: Inspection, console: Console, title: str) -> None:
    """Prints the facts for a person, with the name of the set above them."""
    table = Table(title=title)
    for heading in ("class", "images", "masks", f"pixels at {SHARE_SIDE}x{SHARE_SIDE}", "ENet weight"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for kind, number in CLASS_NUMBERS.items():
        table.add_row(
            "normal, and background of all" if kind == "normal" else kind,
            str(inspection.images[kind]),
            str(inspection.masks[kind]),
            f"{inspection.shares[number]:.2%}",
            f"{inspection.class_weights[number]:.2f}",
        )
    table.add_row("all", str(sum(inspection.images.values())), str(sum(inspection.masks.values())), "100.00%", "")
    console.print(table)
    smallest, median, largest = (f"{rows} x {columns}" for rows, columns in inspection.sides)
    console.print(f"Rows x columns: smallest {smallest}, median {median}, largest {largest}.")
    console.print(f"Scenes: {inspection.scenes}.")
    console.print(
        f"Patients, or scenes where none are named: {inspection.groups}. None is ever on both sides of a split."
    )
    console.print(f"Groups of images with identical pixels: {len(inspection.duplicates)}.")
    for names in inspection.duplicates:
        console.print("  " + " = ".join(names))
    console.print(f"Contradictory images, left out of training and testing: {len(inspection.contradictory)}.")
    for name in inspection.contradictory:
        console.print(f"  {name}")


def contact_sheet(records: Sequence[Record], classes: Sequence[ClassSpecification], path: Path) -> None:
    """Writes a PNG of all images, each stretched to a square, with the references outlined and the names' numbers."""
    columns = math.ceil(math.sqrt(len(records)))
    sheet = PillowImage.new("RGB", (columns * THUMBNAIL_SIDE, math.ceil(len(records) / columns) * THUMBNAIL_SIDE))
    draw = ImageDraw.Draw(sheet)
    for position, record in enumerate(records):
        pixels = _resized(record.read_image().pixels, THUMBNAIL_SIDE, PillowImage.Resampling.BILINEAR)
        reference = _resized(record.read_reference(), THUMBNAIL_SIDE, PillowImage.Resampling.NEAREST)
        drawn = overlay(Image(pixels), LabelMap(reference), classes)
        left, top = position % columns * THUMBNAIL_SIDE, position // columns * THUMBNAIL_SIDE
        sheet.paste(PillowImage.fromarray(drawn), (left, top))
        draw.text((left + 3, top + 2), Path(record.name).stem, fill="white", stroke_width=1, stroke_fill="black")
    sheet.save(path)


def _resized(pixels: NDArray[np.uint8], side: int, resample: PillowImage.Resampling) -> NDArray[np.uint8]:
    return np.asarray(PillowImage.fromarray(pixels).resize((side, side), resample))
