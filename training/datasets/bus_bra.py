"""BUS-BRA (Gómez-Flores et al., Medical Physics 51:3110, 2024, doi:10.1002/mp.16812; data: Zenodo 8231412).

1,875 images of 1,064 women from the National Institute of Cancer, Rio de Janeiro, with four machines; biopsied.
Published layout: `Images/bus_0001-l.png`, `Masks/mask_0001-l.png` and `bus_data.csv` with ID, Case, Pathology and
Device. The views of a case, its sides `-l` and `-r` or the only one `-s`, are scenes of one patient.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from training.datasets.checks import pixel_problems
from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import DatasetInvalid

NAME = "BUS-BRA"
TABLE = "bus_data.csv"
COLUMNS = {"ID", "Case", "Pathology", "Device"}


def is_bus_bra(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / TABLE).is_file()


def read_bus_bra(folder: Path) -> tuple[Record, ...]:
    """All images that the table lists, in its order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8-sig") as table:
            rows = list(csv.DictReader(table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetInvalid(folder, [f"{folder / TABLE} cannot be read: {error}"]) from error
    problems = [] if rows and rows[0].keys() >= COLUMNS else [f"{folder / TABLE}: no rows with {sorted(COLUMNS)}."]
    records = [] if problems else [_record(folder, row) for row in rows]
    problems += _of_the_table(folder, records)
    for record in records:
        missing = [path for path in record.files if not path.is_file()]
        problems += [f"{path}: listed in {TABLE}, and not here." for path in missing]
        problems += [] if missing or record.kind not in CLASS_NUMBERS else pixel_problems(record)
    if problems:
        raise DatasetInvalid(folder, sorted(problems))
    return tuple(records)


def _record(folder: Path, row: dict[str, str]) -> Record:
    identity = row["ID"]
    return Record(
        name=f"{identity}.png",
        image=folder / "Images" / f"{identity}.png",
        masks=(folder / "Masks" / f"mask_{identity.removeprefix('bus_')}.png",),
        kind=row["Pathology"],
        scene=identity,
        dataset=NAME,
        patient=row["Case"],
        device=row["Device"],
    )


def _of_the_table(folder: Path, records: list[Record]) -> Iterator[str]:
    seen: set[str] = set()
    for record in records:
        if record.name in seen:
            yield f"{folder / TABLE}: {record.scene} is listed twice."
        seen.add(record.name)
        if record.kind not in {"benign", "malignant"}:
            yield f"{folder / TABLE}: {record.scene} is {record.kind!r}, not benign or malignant."
    for path in sorted((folder / "Images").glob("*")):
        if records and path.name not in seen:
            yield f"{path}: not listed in {TABLE}."
