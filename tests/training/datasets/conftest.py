"""Small files of the kinds that data sets are made of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openpyxl
from PIL import Image as PillowImage

ROWS, COLUMNS = 48, 64


def write_image(path: Path, rows: int = ROWS, columns: int = COLUMNS) -> Path:
    """A grey image of noise, another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(list(path.name.encode())).integers(0, 256, (rows, columns), dtype=np.uint8)
    PillowImage.fromarray(grey).save(path)
    return path


def write_mask(path: Path, value: int = 255, rows: int = ROWS, columns: int = COLUMNS) -> Path:
    """A grey mask: a box of the value, ten rows from the top and ten columns from the left, on 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((rows, columns), np.uint8)
    mask[10:30, 10:40] = value
    PillowImage.fromarray(mask).save(path)
    return path


def write_sheet(path: Path, lines: Sequence[Sequence[object]]) -> None:
    """A spreadsheet of one sheet."""
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(list(line))  # type: ignore[union-attr]  # a new book has an active sheet
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
