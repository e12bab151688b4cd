"""What may be wrong with the files of a record, whatever the set."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from efsnet.errors import ImageError
from efsnet.image import decode_image
from training.datasets.records import CLASS_NUMBERS, MASK_LEVEL, PUBLISHED, Record

DESKTOP_FILES = ("thumbs.db", "desktop.ini")
"""What Windows leaves in folders of images; others begin with a dot."""


def problems_of(records: Iterable[Record]) -> Iterator[str]:
    """Of records that a table or a listing names: files that are not there, names given twice, and `pixel_problems`."""
    seen: set[str] = set()
    for record in records:
        if record.name in seen:
            yield f"{record.image}: named twice."
        seen.add(record.name)
        missing = [path for path in record.files if not is_there(path)]
        yield from (f"{path}: it is named, and not here." for path in missing)
        if record.kind not in CLASS_NUMBERS:
            yield f"{record.image}: {record.kind!r} is not one of {', '.join(CLASS_NUMBERS)}."
        elif not missing:
            yield from pixel_problems(record)


def is_there(path: Path) -> bool:
    """Whether a table names a file, and not something that none can be called, as a whole line of it."""
    try:
        return path.is_file()
    except OSError:  # the name is longer than one can be
        return False


def unnamed(folder: Path, named: Iterable[Path]) -> Iterator[str]:
    """Files of a folder that nothing names, but for those that desktops leave everywhere."""
    for path in sorted(set(folder.iterdir() if folder.is_dir() else ()) - set(named)):
        if not path.name.startswith(".") and path.name.lower() not in DESKTOP_FILES:
            yield f"{path}: nothing names it."


def copies(records: Iterable[Record]) -> Iterator[str]:
    """Images that show the very picture of another patient, where a set of one's own is among the records.

    They would be on both sides of a split: as a correction that the service kept of an image that is in another folder
    too. Of the published sets alone it is known which images are copies; contradictory ones are in no split.
    """
    certain = [record for record in records if not record.contradictory]
    shown: dict[str, Record] = {}
    for record in () if {record.dataset for record in certain} <= set(PUBLISHED) else certain:
        first = shown.setdefault(pixel_digest(record), record)
        if first.group != record.group:
            yield f"{record.image}: the same picture as {first.image}, of another patient: leave one of the two out."


def pixel_digest(record: Record) -> str:
    """SHA-256 of an image's size and grey values, 64 hex digits: a copy in another format has the same."""
    pixels = record.read_image().pixels
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def pixel_problems(record: Record) -> Iterator[str]:
    """Reads every file once, so that training never stops on one in the middle of the night."""
    shapes = {}
    lesion_pixels = 0
    for path in (record.image, *record.masks):
        try:
            pixels = decode_image(path.read_bytes()).pixels
        except (OSError, ImageError) as error:
            yield f"{path}: cannot be read: {error}"
            continue
        shapes[path] = pixels.shape
        if path in record.masks:
            lesion_pixels += int((pixels > MASK_LEVEL).sum())
            if record.image in shapes and pixels.shape != shapes[record.image]:
                rows, columns = shapes[record.image]
                yield (
                    f"{path}: {pixels.shape[0]} x {pixels.shape[1]} pixels (rows x columns), "
                    f"its image has {rows} x {columns}."
                )
    if len(shapes) == 1 + len(record.masks) and (lesion_pixels > 0) != (record.kind != "normal"):
        yield f"{record.image}: " + (
            "a normal image with a lesion in its mask." if lesion_pixels else "its mask is empty."
        )
