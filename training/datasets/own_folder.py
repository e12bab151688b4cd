"""A hospital's own images: `images/`, `masks/` and one table, so that retraining on them is one command.

The table, a .csv of any name with the columns `file`, `class` and `patient`, has a line for each image: its file in
`images/`, `normal`, `benign` or `malignant`, and whatever tells patients apart. The mask of an image lies in `masks/`
as a PNG of the same stem and size; a normal image needs none. It is either a label map, with the values 0, 1 and 2 as
the service answers it, or black with the lesion in white. So a mask that the service made and somebody corrected goes
back in as it is. The gravest lesion of a label map is of the class that the table gives the image. The name of the
folder is the name of the data set.

Capitals do not tell patients apart. Computers write an accented letter as one sign or as two: names are the same
either way.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from efsnet.errors import ImageError
from efsnet.image import decode_image
from training.datasets.checks import is_there, unnamed
from training.datasets.records import CLASS_NUMBERS, PUBLISHED, Record
from training.datasets.tables import Row, read_table, tables_in
from training.errors import DatasetInvalid

COLUMNS = ("file", "class", "patient")
WHITE = 255


def is_own_folder(folder: Path) -> bool:
    """Whether a folder is meant to have this layout; what else it lacks is said when it is read."""
    return (folder / "images").is_dir()


@dataclass(frozen=True)
class OwnRecord(Record):
    """A record whose mask is a label map, or white on black."""

    def read_reference(self) -> NDArray[np.uint8]:
        return stored_classes(self.masks[0], self.kind) if self.masks else super().read_reference()


def stored_classes(mask: Path, kind: str) -> NDArray[np.uint8]:
    """(rows, columns) class numbers of a mask.

    Args:
        mask: A palette or grey PNG with the values 0, 1 and 2, or 0 and 255.
        kind: Of the image, for what is white.

    Raises:
        ValueError: it holds other values, or is in colours.
        OSError: it cannot be read.
    """
    with PillowImage.open(mask) as file:
        if file.mode not in ("P", "L", "1"):
            raise ValueError(f"its pixels are {file.mode}: save it with a palette or in grey")
        # of a palette PNG the stored values are the classes, whatever their colours
        values = np.asarray(file.convert("L") if file.mode == "1" else file)
    found = {int(value) for value in np.unique(values)}
    if found <= {0, WHITE}:
        return np.where(values == WHITE, CLASS_NUMBERS[kind], 0).astype(np.uint8)
    if found <= set(CLASS_NUMBERS.values()):
        return np.asarray(values, dtype=np.uint8)
    raise ValueError(f"its values are {sorted(found)[:8]}, neither 0, 1 and 2 nor 0 and 255")


def read_own_folder(folder: Path) -> tuple[Record, ...]:
    """All images that the table lists, in its order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    tables = tables_in(folder, ".csv")
    if len(tables) != 1:
        raise DatasetInvalid(
            folder,
            [f"{folder}: it takes one table *.csv with {', '.join(COLUMNS)}; here are {len(tables)} such files."],
        )
    rows, files = read_table(tables[0], COLUMNS), _Files(folder)
    problems, records = list(_name_problems(folder, tables[0], rows)), []
    for row in rows:
        of_row = list(_row_problems(f"{tables[0]}, line {row.number}", row))
        problems += of_row
        if not of_row:
            records.append(_record(files, row))
    problems += [problem for record in records for problem in _file_problems(record)]
    named = [_plain(row["file"]) for row in rows if _is_name(row["file"])]
    problems += unnamed(folder / "images", map(files.image, named))
    problems += unnamed(folder / "masks", map(files.mask, named))
    if problems:
        raise DatasetInvalid(folder, list(dict.fromkeys(problems)))
    return tuple(records)


@dataclass(frozen=True)
class _Files:
    """The files of a folder, by what its table calls them."""

    folder: Path

    def image(self, name: str) -> Path:
        return self._images.get(name, self.folder / "images" / name)

    def mask(self, name: str) -> Path:
        """Of the image of this name, whether it is there or not."""
        stem = PurePosixPath(name).stem
        return self._masks.get(stem, self.folder / "masks" / f"{stem}.png")

    @cached_property
    def _images(self) -> dict[str, Path]:
        return {_plain(path.name): path for path in self._in("images")}

    @cached_property
    def _masks(self) -> dict[str, Path]:
        """By the stem of their image."""
        return {_plain(path.stem): path for path in self._in("masks") if path.suffix.lower() == ".png"}

    def _in(self, part: str) -> list[Path]:
        return sorted((self.folder / part).iterdir()) if (self.folder / part).is_dir() else []


def _plain(text: str) -> str:
    """With each accented letter as one sign, as most computers write it, and Macs do not."""
    return unicodedata.normalize("NFC", text)


def _is_name(text: str) -> bool:
    """Whether it can be the name of a file in a folder."""
    return bool(text) and text == PurePosixPath(text).name and text != ".."


def _name_problems(folder: Path, table: Path, rows: Sequence[Row]) -> Iterator[str]:
    """Of the names of the set and its files among each other."""
    if _name_of(folder) in PUBLISHED:
        yield f"{folder}: it bears the name of a published data set; give the folder another one."
    files = Counter(_plain(row["file"]) for row in rows if row["file"])
    yield from (f"{table}: {file} has several lines." for file, count in files.items() if count > 1)
    stems = Counter(Path(file).stem for file in files)
    yield from (f"{table}: {stem} is the stem of {count} files." for stem, count in stems.items() if count > 1)


def _name_of(folder: Path) -> str:
    return folder.resolve().name


def _row_problems(where: str, row: Row) -> Iterator[str]:
    if not _is_name(row["file"]):
        yield f"{where}: file is {row['file']!r}, not the name of a file in images/."
    if row["class"].lower() not in CLASS_NUMBERS:
        yield f"{where}: class is {row['class']!r}, not one of {', '.join(CLASS_NUMBERS)}."
    if not row["patient"]:
        yield f"{where}: patient is empty; without it images of one person could be on both sides of a split."


def _record(files: _Files, row: Row) -> Record:
    name, kind = _plain(row["file"]), row["class"].lower()
    mask = files.mask(name)
    return OwnRecord(
        name=name,
        image=files.image(name),
        masks=(mask,) if kind != "normal" or is_there(mask) else (),
        kind=kind,
        scene=name,
        dataset=_name_of(files.folder),
        patient=_plain(row["patient"]).casefold(),
    )


def _file_problems(record: Record) -> Iterator[str]:
    missing = [path for path in record.files if not is_there(path)]
    yield from (f"{path}: it is not here." for path in missing)
    if missing:
        return
    try:
        shape = decode_image(record.image.read_bytes()).pixels.shape
    except (OSError, ImageError) as error:
        yield f"{record.image}: cannot be read: {error}"
        return
    for mask in record.masks:
        try:
            # white is a lesion even in what should be normal
            reference = stored_classes(mask, record.kind if record.kind != "normal" else "benign")
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, PillowImage.DecompressionBombError) as error:
            yield f"{mask}: cannot be read as a mask: {str(error).rstrip('.')}."
            continue
        if reference.shape != shape:
            yield f"{mask}: {reference.shape} pixels, its image has {shape} (rows, columns)."
        gravest = list(CLASS_NUMBERS)[int(reference.max())]
        if gravest != record.kind:
            found = "it is empty" if gravest == "normal" else f"a {gravest} lesion is the gravest in it"
            yield f"{mask}: {found}, and the image is {record.kind}."
