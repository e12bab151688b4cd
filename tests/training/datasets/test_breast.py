"""BrEaST is read as it is published."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.training.datasets.conftest import COLUMNS, ROWS, write_image, write_mask, write_sheet
from training.datasets.breast import read_breast
from training.datasets.reading import read
from training.errors import DatasetInvalid

HEADER = ("CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename", "Pixel_size", "Classification")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benign image with a second lesion, a malignant one with transparency, and a normal one without a mask."""
    images = tmp_path / "BrEaST-Lesions_USG-images_and_masks"
    lines: list[tuple[object, ...]] = [HEADER]
    for number, kind in ((1, "benign"), (2, "malignant"), (3, "normal")):
        write_image(images / f"case{number:03d}.png")
        mask = f"case{number:03d}_tumor.png" if kind != "normal" else ""
        if mask:
            write_mask(images / mask)
        lines.append((number, f"case{number:03d}.png", mask, "", 0.0071, kind))
    other = np.zeros((ROWS, COLUMNS), np.uint8)
    other[40:44, 50:60] = 255
    PillowImage.fromarray(other).save(images / "case001_other1.png")
    transparent = np.full((ROWS, COLUMNS, 4), 200, np.uint8)
    transparent[:, :5, 3] = 0
    transparent[:, 5:, 3] = 255
    PillowImage.fromarray(transparent).save(images / "case002.png")
    write_sheet(tmp_path / "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx", lines)
    return tmp_path


def test_every_image_of_the_spreadsheet_is_a_record(folder: Path) -> None:
    """Each of a patient of its own, with the pixel spacing in mm; further lesions are lesions."""
    benign, malignant, normal = read([folder])

    assert ("BrEaST", "benign", "case001") == (benign.dataset, benign.kind, benign.patient)
    spacing = benign.read_image().spacing
    assert spacing is not None
    assert 0.071 == pytest.approx(spacing.row_mm) == pytest.approx(spacing.column_mm)
    assert 640 == (benign.read_reference() == 1).sum()
    assert 600 == (malignant.read_reference() == 2).sum()
    assert "normal" == normal.kind
    assert np.array_equal(np.zeros((ROWS, COLUMNS)), normal.read_reference())


def test_masks_named_in_a_cell_are_all_read(folder: Path) -> None:
    """Several are joined by `&`; one that is named and not there is a problem."""
    images = folder / "BrEaST-Lesions_USG-images_and_masks"
    line = (1, "case001.png", "case001_tumor.png", "case001_other1.png&case001_other2.png", 0.0071, "benign")
    write_sheet(next(folder.glob("*.xlsx")), [HEADER, line])

    with pytest.raises(DatasetInvalid, match=r"case001_other2\.png: it is named, and not here"):
        read_breast(folder)
    write_mask(images / "case001_other2.png")
    (record,) = read_breast(folder)

    assert ["case001_other1.png", "case001_other2.png", "case001_tumor.png"] == [mask.name for mask in record.masks]


def test_an_image_without_its_pixel_size_has_no_spacing(folder: Path) -> None:
    """None is invented, and the image is read."""
    write_sheet(next(folder.glob("*.xlsx")), [HEADER, (3, "case003.png", "", "", "", "normal")])

    assert read_breast(folder)[0].read_image().spacing is None


def test_transparent_pixels_are_black(folder: Path) -> None:
    """They are what the machine's screen showed around the image."""
    pixels = read_breast(folder)[1].read_image().pixels

    assert {0} == set(np.unique(pixels[:, :5]).tolist())
    assert {200} == set(np.unique(pixels[:, 5:]).tolist())


def test_every_problem_is_listed(folder: Path) -> None:
    """A missing image, a missing mask, a pixel size that is none."""
    images = folder / "BrEaST-Lesions_USG-images_and_masks"
    (images / "case003.png").unlink()
    lines = [HEADER, *((n, f"case{n:03d}.png", f"case{n:03d}_tumor.png", "", "?", "benign") for n in (1, 2, 3))]
    write_sheet(next(folder.glob("*.xlsx")), lines)

    with pytest.raises(DatasetInvalid) as caught:
        read_breast(folder)

    problems = "\n".join(caught.value.problems)
    assert 5 == len(caught.value.problems)
    assert 3 == problems.count("no cm")
    assert "case003.png" in problems
    assert "case003_tumor.png" in problems


def test_a_copy_without_its_spreadsheet_is_refused(folder: Path) -> None:
    """Nothing else says what the images are."""
    next(folder.glob("*.xlsx")).unlink()

    with pytest.raises(DatasetInvalid, match="clinical spreadsheet"):
        read_breast(folder)


def test_a_spreadsheet_that_is_none_is_refused(folder: Path) -> None:
    """A download that was cut off."""
    next(folder.glob("*.xlsx")).write_bytes(b"PK\x03\x04")

    with pytest.raises(DatasetInvalid, match="cannot be read"):
        read_breast(folder)
