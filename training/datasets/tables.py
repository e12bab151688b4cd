"""Tables that come with data sets, as people save them: CSV with commas or semicolons, or a spreadsheet."""

import csv
import io
import zlib
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import openpyxl

from training.errors import DatasetInvalid

Row = Mapping[str, str]

UNREADABLE = (OSError, EOFError, csv.Error, BadZipFile, ParseError, zlib.error, KeyError, IndexError, ValueError)
"""What the readers of the two formats raise for a damaged file."""


def read_table(path: Path, columns: Collection[str]) -> Sequence[Row]:
    """The rows of a .csv or .xlsx file below its header, cells as text without blanks around them.

    Args:
        path: The file.
        columns: Columns that it must have; their names are compared in small letters.

    Raises:
        DatasetInvalid: it cannot be read, a column is missing, or there is no row.
    """
    try:
        lines = _spreadsheet(path) if path.suffix == ".xlsx" else _csv(path)
    except UnicodeDecodeError as error:
        raise DatasetInvalid(path.parent, [f"{path}: its letters are not in UTF-8: save it as CSV UTF-8."]) from error
    except UNREADABLE as error:
        raise DatasetInvalid(path.parent, [f"{path}: cannot be read: {error}"]) from error
    header = [cell.lower() for cell in lines[0]] if lines else []
    missing = sorted({column.lower() for column in columns} - set(header))
    if missing:
        raise DatasetInvalid(path.parent, [f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}."])
    # a line may end early, with its empty cells left out
    rows = [dict(zip_longest(header, line[: len(header)], fillvalue="")) for line in lines[1:] if any(line)]
    if not rows:
        raise DatasetInvalid(path.parent, [f"{path}: no row below its header."])
    return rows


def _csv(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    # what spreadsheets write where the comma is in the numbers
    delimiter = ";" if header.count(";") > header.count(",") else ","
    return [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text), delimiter=delimiter)]


def _spreadsheet(path: Path) -> list[list[str]]:
    # opened here, as openpyxl leaves open what it could not read
    with path.open("rb") as file:
        sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
        rows = sheet.iter_rows(values_only=True)
        return [["" if cell is None else str(cell).strip() for cell in line] for line in rows]
