"""UDIAT's data set B is read as it is published."""

from pathlib import Path

import pytest

from tests.training.datasets.conftest import write_image, write_mask, write_sheet
from training.datasets.reading import read
from training.datasets.udiat import read_udiat
from training.errors import DatasetInvalid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, whose numbers the spreadsheet holds as numbers, and their masks."""
    for number in (1, 2, 10):
        write_image(tmp_path / f"original/{number:06d}.png")
        write_mask(tmp_path / f"GT/{number:06d}.png")
    write_sheet(tmp_path / "DatasetB.xlsx", [("Image", "Type"), (1, "Benign"), (2, "Malignant"), (10, "Benign")])
    return tmp_path


def test_every_image_of_the_list_is_a_record(folder: Path) -> None:
    """Without a patient, each is a group of its own."""
    records = read([folder])

    assert ["benign", "malignant", "benign"] == [record.kind for record in records]
    assert ["UDIAT/000001", "UDIAT/000002", "UDIAT/000010"] == [record.group for record in records]
    assert 600 == (records[1].read_reference() == 2).sum()


def test_every_problem_is_listed(folder: Path) -> None:
    """A missing mask, an image that the list does not name, an unknown kind."""
    (folder / "GT/000001.png").unlink()
    write_image(folder / "original/000011.png")
    write_sheet(folder / "DatasetB.xlsx", [("Image", "Type"), (1, "Benign"), (2, "Malignant"), (10, "?")])

    with pytest.raises(DatasetInvalid) as caught:
        read_udiat(folder)

    problems = "\n".join(caught.value.problems)
    assert 3 == len(caught.value.problems)
    for word in ("GT/000001.png", "000011.png", "'?'"):
        assert word in problems


def test_one_list_says_the_kinds(folder: Path) -> None:
    """Without it, or with two, nobody knows."""
    (folder / "list.csv").write_text("Image,Type\n")

    with pytest.raises(DatasetInvalid, match="one list of kinds"):
        read_udiat(folder)
