"""BUS-UCLM is read as it is published: the colour of a mask is the class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.training.datasets.conftest import COLUMNS, ROWS, write_image
from training.datasets.bus_uclm import read_bus_uclm
from training.datasets.reading import read
from training.errors import DatasetInvalid

GREEN, RED, BLUE, YELLOW = (0, 255, 0), (255, 0, 0), (0, 0, 255), (255, 255, 0)


def write_coloured(path: Path, *boxes: tuple[int, ...], rows: int = ROWS) -> None:
    """A black mask with a box of ten columns of each colour."""
    mask = np.zeros((rows, COLUMNS, 3), np.uint8)
    for position, colour in enumerate(boxes):
        mask[10:20, 10 + 20 * position : 20 + 20 * position] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(mask).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of two patients: a normal, a benign and a malignant image, and one with a lesion of each kind."""
    for name, boxes in (("ALWI_000", ()), ("ALWI_001", (GREEN,)), ("BETH_000", (RED,)), ("BETH_001", (GREEN, RED))):
        write_image(tmp_path / f"images/{name}.png")
        write_coloured(tmp_path / f"masks/{name}.png", *boxes)
    (tmp_path / "INFO.csv").write_text(
        "Image;Label;Marks;Doppler\nALWI_000.png;Normal;No;No\nBETH_000.png;Malignant;Yes;Yes\n"
    )
    return tmp_path


def test_colours_are_classes_and_letters_are_patients(folder: Path) -> None:
    """The image as a whole is of its gravest class; each pixel is of its own."""
    records = read([folder])

    assert ["normal", "benign", "malignant", "malignant"] == [record.kind for record in records]
    assert ["ALWI", "ALWI", "BETH", "BETH"] == [record.patient for record in records]
    assert [{0}, {0, 1}, {0, 2}, {0, 1, 2}] == [set(np.unique(r.read_reference()).tolist()) for r in records]


def test_every_problem_is_listed(folder: Path) -> None:
    """A missing mask, a mask without its image, other colours, another size, a damaged file."""
    (folder / "masks/ALWI_000.png").unlink()
    write_coloured(folder / "masks/ZOE_000.png")
    write_coloured(folder / "masks/ALWI_001.png", BLUE)
    write_coloured(folder / "masks/BETH_000.png", RED, rows=40)
    (folder / "images/BETH_001.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    with pytest.raises(DatasetInvalid) as caught:
        read_bus_uclm(folder)

    problems = "\n".join(caught.value.problems)
    assert 5 == len(caught.value.problems)
    for word in ("ALWI_000", "ZOE_000", "neither black, green nor red", "(40, 64)", "BETH_001"):
        assert word in problems


def test_what_is_burned_in_is_remarked(folder: Path) -> None:
    """INFO.csv says of which images, in the columns that it has; a copy without it is read too."""
    assert [(), (), ("doppler", "overlay"), ()] == [record.remarks for record in read_bus_uclm(folder)]

    (folder / "INFO.csv").unlink()

    assert [()] * 4 == [record.remarks for record in read([folder])]


def test_the_four_images_without_a_mask_of_their_size_are_not_read(folder: Path) -> None:
    """Nobody knows how the published mask lies on them; the patient's other images are read."""
    for name in ("HESN_001", "HESN_002"):
        write_image(folder / f"images/{name}.png")
        write_coloured(folder / f"masks/{name}.png", GREEN, rows=40 if name == "HESN_002" else ROWS)

    assert ["HESN_001.png"] == [record.name for record in read_bus_uclm(folder) if record.patient == "HESN"]


def test_yellow_is_no_class(folder: Path) -> None:
    """A pixel cannot be both benign and malignant."""
    write_coloured(folder / "masks/BETH_001.png", YELLOW)

    with pytest.raises(DatasetInvalid, match="neither black, green nor red"):
        read_bus_uclm(folder)
