"""BUS-BRA (Gómez-Flores et al., Medical Physics 51:3110, 2024, doi:10.1002/mp.16812; data: Zenodo 8231412).

1,875 images of 1,064 women from the National Institute of Cancer, Rio de Janeiro, with four machines; biopsied.
Published layout: `Images/bus_0001-l.png`, `Masks/mask_0001-l.png` and `bus_data.csv` with ID, Case, Pathology and
Device. The views of a case, its sides `-l` and `-r` or the only one `-s`, are scenes of one patient.
"""

from pathlib import Path

from training.datasets.checks import problems_of, unnamed
from training.datasets.records import Record
from training.datasets.tables import Row, read_table
from training.errors import DatasetInvalid

NAME = "BUS-BRA"
TABLE = "bus_data.csv"


def is_bus_bra(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / TABLE).is_file()


def read_bus_bra(folder: Path) -> tuple[Record, ...]:
    """All images that the table lists, in its order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    rows = read_table(folder / TABLE, ("ID", "Case", "Pathology", "Device"))
    records = tuple(_record(folder, row) for row in rows)
    problems = [*problems_of(records), *unnamed(folder / "Images", (record.image for record in records))]
    if problems:
        raise DatasetInvalid(folder, problems)
    return records


def _record(folder: Path, row: Row) -> Record:
    identity = row["id"]
    return Record(
        name=f"{identity}.png",
        image=folder / "Images" / f"{identity}.png",
        masks=(folder / "Masks" / f"mask_{identity.removeprefix('bus_')}.png",),
        kind=row["pathology"],
        scene=identity,
        dataset=NAME,
        patient=row["case"],
        device=row["device"],
    )
