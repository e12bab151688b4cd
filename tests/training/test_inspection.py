"""An inspection counts what is there."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from rich.console import Console

from training.datasets.busi import read_busi
from training.inspection import THUMBNAIL_SIDE, contact_sheet, inspect, show
from training.specification import CLASSES

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


def test_images_masks_and_scenes_are_counted(busi: Path) -> None:
    """Nine images of nine scenes; one benign image has two masks."""
    found = inspect(read_busi(busi))

    assert {"normal": 3, "benign": 3, "malignant": 3} == dict(found.images)
    assert {"normal": 3, "benign": 4, "malignant": 3} == dict(found.masks)
    assert 9 == found.scenes == found.groups
    assert () == found.duplicates


def test_shares_are_of_pixels_and_weights_are_enets(make_busi: MakeBusi) -> None:
    """1 / ln(1.02 + share), as the thesis computed 1.51, 17.27 and 17.24."""
    found = inspect(read_busi(make_busi([("benign", 2), ("malignant", 2), ("normal", 1)])))

    assert sum(found.shares) == pytest.approx(1)
    # discs of radius 14 and 9, two of five images each
    assert found.shares[1:] == pytest.approx((0.4 * math.pi * 14**2 / 64**2, 0.4 * math.pi * 9**2 / 64**2), rel=0.05)
    assert found.class_weights == pytest.approx([1 / math.log(1.02 + share) for share in found.shares])


def test_identical_images_are_found_whatever_their_names(make_busi: MakeBusi) -> None:
    """The same pixels under two names are one group."""
    root = make_busi([("benign", 3)])
    (root / "benign" / "benign (1003).png").write_bytes((root / "benign" / "benign (1001).png").read_bytes())

    assert (("BUSI/benign/benign (1001).png", "BUSI/benign/benign (1003).png"),) == inspect(read_busi(root)).duplicates


def test_everything_is_said(busi: Path) -> None:
    """Of which set it is, counts, sizes, duplicates, contradictions, shares and weights are printed."""
    console = Console(file=io.StringIO(), width=120)
    show(inspect(read_busi(busi)), console, "BUSI")
    text = console.file.getvalue()  # type: ignore[attr-defined]

    for words in (
        "BUSI",
        "benign",
        "Rows x columns",
        "Scenes: 9",
        "identical pixels: 0",
        "Contradictory images",
        "ENet",
    ):
        assert words in text


def test_the_sheet_shows_every_image_with_its_outline(busi: Path, tmp_path: Path) -> None:
    """Three by three thumbnails, in which each lesion class has its colour and normal images have none."""
    path = tmp_path / "sheet.png"
    records = read_busi(busi)
    contact_sheet(records, CLASSES, path)
    sheet = np.asarray(PillowImage.open(path))

    assert (3 * THUMBNAIL_SIDE, 3 * THUMBNAIL_SIDE, 3) == sheet.shape
    for position, record in enumerate(records):
        row, column = divmod(position, 3)
        thumbnail = sheet[row * THUMBNAIL_SIDE :, column * THUMBNAIL_SIDE :][:THUMBNAIL_SIDE, :THUMBNAIL_SIDE]
        drawn = {each.label for each in CLASSES[1:] if (thumbnail == each.colour).all(axis=2).any()}
        assert drawn == ({record.kind} if record.kind != "normal" else set())
