"""BrEaST (Pawłowska et al., Scientific Data 11:148, 2024, doi:10.1038/s41597-024-02984-z; data: TCIA, CC BY 4.0).

256 images of 256 women from several hospitals in Poland, with several machines. Published layout: `case001.png`,
`case001_tumor.png` and, where there are further lesions, `case001_other1.png`, …, all in one folder, and a clinical
spreadsheet in it or above it. Masks of an image are merged, as BUSI's are. Transparent pixels of an image are black.
"""

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
    sheets = [path for path in sorted({*folder.rglob("*.xlsx"), *images.parent.glob("*.xlsx")}) if path.name[0] != "~"]
    if len(sheets) != 1:
        names = ", ".join(str(sheet) for sheet in sheets) or "none"
        raise DatasetInvalid(folder, [f"{folder}: it takes the one clinical spreadsheet (.xlsx), found are {names}."])
    rows = read_table(sheets[0], COLUMNS)
    sizes = [f"{row['image_filename']}: Pixel_size is {row['pixel_size']!r}, no cm." for row in rows if not _mm(row)]
    records = tuple(_record(images, row) for row in rows)
    problems = [*sizes, *problems_of(records)]
    if problems:
        raise DatasetInvalid(folder, problems)
    return records


def _record(images: Path, row: Row) -> Record:
    name, tumour, mm = row["image_filename"], row["mask_tumor_filename"], _mm(row)
    others = sorted(images.glob(f"{Path(name).stem}_other*.png"))
    return Record(
        name=name,
        image=images / name,
        masks=(*([images / tumour] if tumour else []), *others),
        kind=row["classification"].lower(),
        scene=Path(name).stem,
        dataset=NAME,
        patient=Path(name).stem,
        spacing=PixelSpacing(mm, mm) if mm else None,
    )


def _mm(row: Row) -> float:
    """Millimetres of a pixel's side; 0 if the cell holds no such number."""
    try:
        return max(float(row["pixel_size"].replace(",", ".")) * MM_PER_CM, 0.0)
    except ValueError:
        return 0.0
