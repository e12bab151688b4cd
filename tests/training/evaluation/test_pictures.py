"""Outlines run along the border between inside and outside, and pictures are small."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from efsnet.maps import LabelMap
from efsnet.rendering import palette_png
from training.datasets.records import Record
from training.evaluation.cases import Case, EvaluationFolder
from training.evaluation.pictures import outline_path, picture
from training.specification import CLASSES

MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]


def filled(path: str, rows: int, columns: int) -> NDArray[np.bool_]:
    """What an even-odd fill of the path covers, pixel centres looked at."""
    inside = np.zeros((rows, columns), dtype=np.bool_)
    for line in re.findall(r"M([^Z]*)Z", path):
        points = [tuple(map(int, point.split())) for point in line.split("L")]
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            for row in range(rows):
                y = 2 * row + 1
                if min(y0, y1) <= y < max(y0, y1):
                    crossing = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                    inside[row] ^= crossing < 2 * np.arange(columns) + 1
    return inside


def test_nothing_has_no_outline() -> None:
    """An empty path draws nothing."""
    assert not outline_path(np.zeros((4, 4), np.bool_))


def test_a_pixel_is_outlined_through_the_middles_of_its_sides() -> None:
    """A diamond, in half pixels."""
    mask = np.zeros((3, 3), np.bool_)
    mask[1, 1] = True

    assert {(3, 2), (4, 3), (3, 4), (2, 3)} == {
        tuple(map(int, point.split())) for point in outline_path(mask)[1:-1].split("L")
    }


@pytest.mark.parametrize("seed", range(4))
def test_an_outline_holds_what_it_outlines(seed: int) -> None:
    """Filled again it gives the mask: several lesions, holes, corners that touch, and the border of the image."""
    mask = np.kron(np.random.default_rng(seed).random((6, 7)) < 0.5, np.ones((3, 3), np.bool_)).astype(np.bool_)

    assert np.array_equal(mask, filled(outline_path(mask), *mask.shape))


def test_a_straight_side_is_one_line() -> None:
    """However long it is: eight points for a rectangle whose corners are cut."""
    mask = np.zeros((50, 60), np.bool_)
    mask[10:40, :] = True

    assert 8 == outline_path(mask).count("L") + 1


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A wide image with a lesion in its left half."""
    grey = np.tile(np.arange(600, dtype=np.uint16) * 255 // 600, (300, 1)).astype(np.uint8)
    mask = np.zeros((300, 600), np.uint8)
    mask[100:200, 100:200] = 255
    for name, pixels in (("image", grey), ("mask", mask)):
        PIL.Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return Record("0.png", tmp_path / "image.png", (tmp_path / "mask.png",), "benign", "0")


def test_a_picture_has_the_shape_of_its_image(
    record: Record, label_map: MakeMap, case: MakeCase, tmp_path: Path
) -> None:
    """Not of the square that the network saw, and both outlines lie where the image has them."""
    predicted = label_map((1, slice(6, 14), slice(3, 7)))
    made = case(predicted, predicted)
    folder = EvaluationFolder(tmp_path / "evaluation")
    file = folder.label_map_file(made.key)
    file.parent.mkdir(parents=True)
    file.write_bytes(palette_png(predicted, CLASSES))
    drawn = picture(made, record, [EvaluationFolder(tmp_path / "nowhere"), folder])

    assert drawn is not None
    assert (128, 256) == (drawn.rows, drawn.columns)
    with PIL.Image.open(io.BytesIO(base64.b64decode(drawn.jpeg))) as jpeg:
        assert ("JPEG", (256, 128)) == (jpeg.format, jpeg.size)
    for path in (drawn.predicted, drawn.reference):
        rows, columns = np.nonzero(filled(path, 128, 256))
        assert (rows.mean(), columns.mean()) == pytest.approx((63.5, 63.5), abs=1.5)


def test_without_its_label_map_a_case_has_no_picture(record: Record, label_map: MakeMap, case: MakeCase) -> None:
    """The report names it instead."""
    assert picture(case(label_map(), label_map()), record, [EvaluationFolder(Path("nowhere"))]) is None
