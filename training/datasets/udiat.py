"""UDIAT, "dataset B" (Yap et al., IEEE Journal of Biomedical and Health Informatics 22:1218, 2018).

163 images from the UDIAT centre in Sabadell, Spain, with a Siemens ACUSON Sequoia C512. Layout: `original/000001.png`,
`GT/000001.png`, and a list of kinds beside the two folders, .xlsx or .csv, with the columns Image and Type. Patients
are not named.
"""

from pathlib import Path

from training.datasets.checks import problems_of, unnamed
from training.datasets.records import Record
from training.datasets.tables import Row, read_table, tables_in
from training.errors import DatasetInvalid

NAME = "UDIAT"
DEVICE = "Siemens ACUSON Sequoia C512"


def is_udiat(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / "original").is_dir() and (folder / "GT").is_dir()


def read_udiat(folder: Path) -> tuple[Record, ...]:
    """All images that the list names, in its order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    lists = tables_in(folder, ".xlsx", ".csv")
    if len(lists) != 1:
        raise DatasetInvalid(folder, [f"{folder}: it takes one list of kinds, .xlsx or .csv, here are {len(lists)}."])
    records = tuple(_record(folder, row) for row in read_table(lists[0], ("Image", "Type")))
    problems = [*problems_of(records), *unnamed(folder / "original", (record.image for record in records))]
    if problems:
        raise DatasetInvalid(folder, problems)
    return records


def _record(folder: Path, row: Row) -> Record:
    # a spreadsheet makes a number of 000001
    stem = Path(row["image"]).stem.zfill(6)
    return Record(
        name=f"{stem}.png",
        image=folder / "original" / f"{stem}.png",
        masks=(folder / "GT" / f"{stem}.png",),
        kind=row["type"].lower(),
        scene=stem,
        dataset=NAME,
        device=DEVICE,
    )
