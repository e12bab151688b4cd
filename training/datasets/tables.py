"""Tables that come with data sets, as people save them: CSV with commas or semicolons, or a spreadsheet."""

import csv
import io
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import openpyxl

from training.errors import DatasetInvalid

UNREADABLE = (OSError, EOFError, csv.Error, BadZipFile, ParseError, zlib.error, KeyError, IndexError, ValueError)
"""What the readers of the two formats raise for a damaged file."""

_Lines = Iterable[tuple[int, list[str]]]
"""Number of each line in its file, from 1, and its cells without blanks around them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        number: Of the line in its file, from 1; blank ones count.
        cells: By the name of their column, in small letters.
    """

    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str:
        """The cell of a column that a table need not have, and else nothing."""
        return self.cells.get(column, "")


def tables_in(folder: Path, *suffixes: str) -> list[Path]:
    """Its files with these suffixes, in small letters or large, but for what desktops hide or lock there."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.name[0] not in ".~")


def read_table(path: Path, columns: Collection[str]) -> Sequence[Row]:
    """The rows of a .csv or .xlsx file below its header, cells as text without blanks around them.

    Args:
        path: The file.
        columns: Columns that it must have; their names are compared in small letters.

    Raises:
        DatasetInvalid: it cannot be read, a column is missing or there twice, or there is no row.
    """
    try:
        lines = [line for line in (_spreadsheet if path.suffix.lower() == ".xlsx" else _csv)(path) if any(line[1])]
    except UnicodeDecodeError as error:
        raise DatasetInvalid(path.parent, [f"{path}: its letters are not in UTF-8: save it as CSV UTF-8."]) from error
    except UNREADABLE as error:
        raise DatasetInvalid(path.parent, [f"{path}: cannot be read: {error}"]) from error
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    wanted = sorted(column.lower() for column in columns)
    missing = ", ".join(column for column in wanted if column not in header)
    twice = ", ".join(column for column in wanted if header.count(column) > 1)
    if missing:
        raise DatasetInvalid(path.parent, [f"{path}: no column {missing}; it has {', '.join(header)}."])
    if twice:
        raise DatasetInvalid(path.parent, [f"{path}: several columns {twice}."])
    # a line may end early, with its empty cells left out
    rows = [Row(number, dict(zip_longest(header, cells[: len(header)], fillvalue=""))) for number, cells in lines[1:]]
    if not rows:
        raise DatasetInvalid(path.parent, [f"{path}: no row below its header."])
    return rows


def _csv(path: Path) -> _Lines:
    text = path.read_text(encoding="utf-8-sig")
    header = text.lstrip().partition("\n")[0]
    # what spreadsheets write where the comma is in the numbers
    lines = csv.reader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    return [(lines.line_num, [cell.strip() for cell in cells]) for cells in lines]


def _spreadsheet(path: Path) -> _Lines:
    # opened here, as openpyxl leaves open what it could not read
    with path.open("rb") as file:
        sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
        rows = enumerate(sheet.iter_rows(values_only=True), 1)
        return [(number, ["" if cell is None else str(cell).strip() for cell in cells]) for number, cells in rows]
