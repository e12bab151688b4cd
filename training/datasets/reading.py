"""Any data set from its folder: the layout tells which one it is."""

from collections.abc import Callable, Sequence
from pathlib import Path

from training.datasets.breast import is_breast, read_breast
from training.datasets.bus_bra import is_bus_bra, read_bus_bra
from training.datasets.bus_uclm import is_bus_uclm, read_bus_uclm
from training.datasets.busi import is_busi, read_busi
from training.datasets.checks import copies
from training.datasets.oasbud import is_oasbud, read_oasbud
from training.datasets.own_folder import is_own_folder, read_own_folder
from training.datasets.records import Record
from training.datasets.udiat import is_udiat, read_udiat
from training.errors import DatasetInvalid

READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], tuple[Record, ...]]], ...] = (
    (is_busi, read_busi),
    (is_bus_bra, read_bus_bra),
    (is_oasbud, read_oasbud),
    (is_udiat, read_udiat),
    (is_bus_uclm, read_bus_uclm),
    (is_own_folder, read_own_folder),
    (is_breast, read_breast),
)
"""Of each layout: whether a folder has it, and its reader, in the order in which they are asked."""

LAYOUTS = (
    "BUSI has benign, malignant and normal, BUS-BRA bus_data.csv, BrEaST case001_tumor.png, UDIAT original and GT, "
    "OASBUD OASBUD.mat, BUS-UCLM and your own folder images and masks."
)
"""What each is told by."""


def read(folders: Sequence[Path]) -> tuple[Record, ...]:
    """All images of one or more data sets.

    Raises:
        DatasetInvalid: a set has problems, all of which are listed, has none of the layouts, or is given twice, or an
            image of one's own is there for two patients.
    """
    records: list[Record] = []
    for folder in folders:
        added = _reader_of(folder)(folder)
        twice = {record.key for record in records} & {record.key for record in added}
        if twice:
            raise DatasetInvalid(folder, [f"{min(twice)} and {len(twice) - 1} more are in another folder too."])
        records += added
    copied = list(copies(records))
    if copied:
        raise DatasetInvalid(folders[-1], copied)
    return tuple(records)


def _reader_of(folder: Path) -> Callable[[Path], tuple[Record, ...]]:
    for has_layout, reader in READERS:
        if has_layout(folder):
            return reader
    if not folder.is_dir():
        raise DatasetInvalid(folder, [f"{folder}: no such folder."])
    raise DatasetInvalid(folder, [f"{folder}: nothing here says which data set it is. {LAYOUTS}"])
