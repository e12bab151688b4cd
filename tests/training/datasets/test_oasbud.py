"""Images are made of OASBUD's echoes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from training.datasets.oasbud import DYNAMIC_RANGE_DB, SAMPLE_MM, WIDTH_MM, b_mode, read_oasbud
from training.datasets.reading import read
from training.errors import DatasetInvalid

SAMPLES, LINES = 1024, 64


def lesion(malignant: int, patient: str) -> dict[str, Any]:
    """Echoes of noise, ten times weaker in the middle, where the lesion is."""
    random = np.random.default_rng(0)
    roi = np.zeros((SAMPLES, LINES), np.uint8)
    roi[400:600, 20:40] = 1
    planes = {f"rf{plane}": random.normal(size=roi.shape) * np.where(roi, 0.1, 1.0) for plane in (1, 2)}
    return {**planes, "roi1": roi, "roi2": roi, "class": malignant, "id": patient, "birads": "4"}


def save(folder: Path, *lesions: dict[str, Any]) -> None:
    """As the set is published, a struct array."""
    names = list(lesions[0])
    data = np.empty((1, len(lesions)), dtype=[(name, object) for name in names])
    for index, each in enumerate(lesions):
        data[0, index] = tuple(each[name] for name in names)
    savemat(folder / "OASBUD.mat", {"data": data})


def test_each_lesion_is_seen_in_two_planes(tmp_path: Path) -> None:
    """Of one patient; the image shows what the echoes say, and the reference lies on it."""
    save(tmp_path, lesion(0, "one"), lesion(1, "two"))
    records = read([tmp_path])

    assert ["001-1", "001-2", "002-1", "002-2"] == [record.name for record in records]
    assert [("benign", "OASBUD/one"), ("malignant", "OASBUD/two")] == [(r.kind, r.group) for r in records[::2]]
    image, reference = records[2].read_image(), records[2].read_reference()
    assert image.pixels.shape == reference.shape
    assert image.pixels[reference == 2].mean() < image.pixels[reference == 0].mean() - 50


def test_rows_are_as_far_apart_as_lines(tmp_path: Path) -> None:
    """Echoes are sampled much finer in depth; an image is as tall as what it shows."""
    save(tmp_path, lesion(0, "one"))
    image = read_oasbud(tmp_path)[0].read_image()

    assert LINES == image.columns
    assert image.rows == round(SAMPLES * SAMPLE_MM / (WIDTH_MM / LINES))
    assert image.spacing is not None
    assert WIDTH_MM == pytest.approx(image.columns * image.spacing.column_mm)
    assert SAMPLES * SAMPLE_MM == pytest.approx(image.rows * image.spacing.row_mm, rel=0.02)


def test_grey_values_are_decibels() -> None:
    """255 at the strongest echo, and 51 less for each fifth of the range below it."""
    depth = np.arange(4096)
    pulse = np.sin(depth * 0.8) * np.exp(-(((depth - 2000) / 300) ** 2))
    grey = b_mode(pulse[:, None] * 10 ** (-np.array([0, 10, 25, 60]) / 20))[2000]

    expected = np.clip(255 * (1 - np.array([0, 10, 25, 60]) / DYNAMIC_RANGE_DB), 0, 255)
    assert np.allclose(expected, grey, atol=2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda entry: entry.pop("roi2"), "lesion 1 has no roi2"),
        (lambda entry: entry.update(roi1=np.ones((3, 3))), "rf1 and roi1 of lesion 1 differ in size"),
        (lambda entry: entry.update(roi2=np.zeros((SAMPLES, LINES))), "roi2 of lesion 1 is empty"),
    ],
    ids=["no field", "another size", "empty"],
)
def test_a_damaged_lesion_is_told(tmp_path: Path, damage: Any, words: str) -> None:
    """By its number, counted from 1."""
    entry = lesion(0, "one")
    damage(entry)
    save(tmp_path, entry)

    with pytest.raises(DatasetInvalid, match=words):
        read_oasbud(tmp_path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A download that was cut off."""
    (tmp_path / "OASBUD.mat").write_bytes(b"MATLAB 5.0 MAT-file")

    with pytest.raises(DatasetInvalid, match="cannot be read"):
        read_oasbud(tmp_path)
