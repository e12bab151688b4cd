"""BrEaST (Pawłowska et al., Scientific Data 11:148, 2024, doi:10.1038/s41597-024-02984-z; data: TCIA, CC BY 4.0).

256 images of 256 women from several hospitals in Poland, with several machines. Published layout: `case001.png`,
`case001_tumor.png` and, where there are further lesions, `case001_other1.png`, …, all in one folder, and a clinical
spreadsheet in it or above it, in whose cells several masks are joined by `&`. Masks of an image are merged, as BUSI's
are; the four normal images have none. Transparent pixels, of images and of masks, are black.
"""

import math
from pathlib import Path

from efsnet.image import PixelSpacing
from training.datasets.checks import problems_of
from training.datasets.records import Record
from training.datasets.tables import Row, read_table
from training.errors import DatasetInvalid

NAME = "BrEaST"
COLUMNS = ("Image_filename", "Mask_tumor_filename", "Pixel_size", "Classification")
MM_PER_CM = 10


def is_breast(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folder.rglob("case*_tumor.png"))


def read_breast(folder: Path) -> tuple[Record, ...]:
    """All images that the spreadsheet lists, in its order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    images = next(folder.rglob("case*_tumor.png")).parent
    sheets = [
        path for path in sorted({*folder.rglob("*.xlsx"), *images.parent.glob("*.xlsx")}) if path.name[0] not in ".~"
    ]
    if len(sheets) != 1:
        names = ", ".join(str(sheet) for sheet in sheets) or "none"
        raise DatasetInvalid(folder, [f"{folder}: it takes the one clinical spreadsheet (.xlsx), found are {names}."])
    rows = read_table(sheets[0], COLUMNS)
    sizes = [
        f"{row['image_filename']}: Pixel_size is {row['pixel_size']!r}, no cm."
        for row in rows
        if row["pixel_size"] and not _mm(row)
    ]
    records = tuple(_record(images, row) for row in rows)
    problems = [*sizes, *problems_of(records)]
    if problems:
        raise DatasetInvalid(folder, problems)
    return records


def _record(images: Path, row: Row) -> Record:
    name, mm = row["image_filename"], _mm(row)
    cells = f"{row['mask_tumor_filename']}&{row.get('mask_other_filename')}"
    named = {images / each.strip() for each in cells.split("&") if each.strip()}
    return Record(
        name=name,
        image=images / name,
        masks=tuple(sorted(named.union(images.glob(f"{Path(name).stem}_other*.png")))),
        kind=row["classification"].lower(),
        scene=Path(name).stem,
        dataset=NAME,
        patient=Path(name).stem,
        spacing=PixelSpacing(mm, mm) if mm else None,
    )


def _mm(row: Row) -> float:
    """Millimetres of a pixel's side; 0 if the cell holds no such number."""
    try:
        mm = float(row["pixel_size"].replace(",", ".")) * MM_PER_CM
    except ValueError:
        return 0.0
    return mm if 0 < mm < math.inf else 0.0
