"""Tables that come with data sets, as people save them: CSV with commas or semicolons, or a spreadsheet."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import openpyxl

from training.errors import DatasetInvalid

Row = Mapping[str, str]


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
    except (OSError, UnicodeDecodeError, csv.Error, BadZipFile, KeyError, ValueError) as error:
        raise DatasetInvalid(path.parent, [f"{path}: cannot be read: {error}"]) from error
    header = [cell.lower() for cell in lines[0]] if lines else []
    missing = sorted({column.lower() for column in columns} - set(header))
    if missing:
        raise DatasetInvalid(path.parent, [f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}."])
    rows = [dict(zip(header, line, strict=False)) for line in lines[1:] if any(line)]
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
    sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
    return [["" if cell is None else str(cell).strip() for cell in line] for line in sheet.iter_rows(values_only=True)]
