"""BUSI, the "Dataset of breast ultrasound images" (Al-Dhabyani et al., Data in Brief 28:104863, 2020).

Published layout: `Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png` with `benign (1)_mask.png`, and
`benign (1)_mask_1.png`, … where an image has several lesions. A normal image has one empty mask.

What is known of each image beyond its pixels (scene, contradictory kinds, burned-in marks) is in
`busi_curation.csv` beside this file; `README.md` there names its sources.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from training.datasets.checks import pixel_problems
from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import DatasetInvalid

CURATION = Path(__file__).with_name("busi_curation.csv")
PUBLISHED_FOLDER = "Dataset_BUSI_with_GT"

_FILE_NAME = re.compile(r"(?P<image>(?P<kind>benign|malignant|normal) \((?P<number>\d+)\))(?P<mask>_mask(_\d+)?)?\.png")
_MARKS = ("measurement", "text", "doppler", "pictogram", "overlay")


def is_busi(folder: Path) -> bool:
    """Whether a folder has this layout, or holds the one that has."""
    return any((folder / name).is_dir() for name in (PUBLISHED_FOLDER, *CLASS_NUMBERS))


@cache
def curation() -> Mapping[str, Mapping[str, str]]:
    """Rows of the curation table by file name, `benign/benign (1).png`."""
    with CURATION.open(newline="", encoding="utf-8") as table:
        return {row["file"]: row for row in csv.DictReader(table)}


def read_busi(folder: Path) -> tuple[Record, ...]:
    """All images of BUSI, or of a part of it, in natural order.

    Args:
        folder: `Dataset_BUSI_with_GT`, or the folder that holds it.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    root = folder / PUBLISHED_FOLDER if (folder / PUBLISHED_FOLDER).is_dir() else folder
    if not root.is_dir():
        raise DatasetInvalid(folder, [f"{folder}: no such folder."])
    problems = list(_unknown_folders(root))
    records: list[Record] = []
    for kind in CLASS_NUMBERS:
        images, masks, unknown = _listed(root / kind)
        problems += unknown
        problems += [
            f"{path}: a mask without its image." for stem in masks.keys() - images.keys() for path in masks[stem]
        ]
        for stem, image in images.items():
            if stem not in masks:
                problems.append(f"{image}: its mask {stem}_mask.png is missing.")
                continue
            record = _record(kind, image, tuple(sorted(masks[stem])))
            problems += pixel_problems(record)
            records.append(record)
    if not records and not problems:
        problems.append(f"{root}: no images in benign, malignant or normal.")
    if problems:
        raise DatasetInvalid(folder, sorted(problems))
    return tuple(sorted(records, key=_natural_order))


def _unknown_folders(root: Path) -> Iterator[str]:
    present = {entry.name for entry in root.iterdir() if entry.is_dir()}
    for name in sorted(present - CLASS_NUMBERS.keys()):
        yield f"{root / name}: an unknown folder; BUSI has benign, malignant and normal."
    if not present & CLASS_NUMBERS.keys():
        yield f"{root}: none of the folders benign, malignant and normal is here."


def _listed(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]], list[str]]:
    """Images by stem, masks by the stem of their image, and problems."""
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    problems = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or match["kind"] != folder.name:
            problems.append(
                f"{path}: not named as BUSI's files are, '{folder.name} (1).png' or '{folder.name} (1)_mask.png'."
            )
        elif match["mask"]:
            masks[match["image"]].append(path)
        else:
            images[match["image"]] = path
    return images, masks, problems


def _record(kind: str, image: Path, masks: tuple[Path, ...]) -> Record:
    name = f"{kind}/{image.name}"
    known = curation().get(name)
    if known is None:  # an image added to the set: nothing says that it shares its scene with another
        return Record(name, image, masks, kind, scene=name)
    return Record(
        name,
        image,
        masks,
        kind,
        scene=known["split_group"],
        contradictory=known["group_has_class_conflict"] == "1",
        remarks=tuple(filter(None, [known["objection"], *(mark for mark in _MARKS if known[f"ann_{mark}"] == "1")])),
    )


def _natural_order(record: Record) -> tuple[str, int]:
    return record.kind, int(record.name[record.name.index("(") + 1 : record.name.index(")")])
