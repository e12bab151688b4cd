"""BUSI is read as it is published, and whatever is wrong with a copy of it is said at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from training.datasets.busi import curation, read_busi
from training.errors import DatasetInvalid

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


def test_real_images_are_read_with_their_class_scene_and_remarks(busi: Path) -> None:
    """Nine published images give nine records that know what curators noted."""
    records = read_busi(busi)

    assert 9 == len(records)
    assert ["benign", "malignant", "normal"] == sorted({record.kind for record in records})
    assert all(record.scene == curation()[record.name]["split_group"] for record in records)


def test_the_folder_above_is_as_good(busi: Path) -> None:
    """A user may name the data set or the folder it was unpacked into."""
    assert read_busi(busi) == read_busi(busi.parent)


def test_the_masks_of_an_image_are_merged(busi: Path) -> None:
    """A pixel is lesion if any of the image's masks says so."""
    record = next(record for record in read_busi(busi) if record.name == "benign/benign (100).png")
    masks = [np.asarray(PillowImage.open(path).convert("L")) > 127 for path in record.masks]

    assert 2 == len(masks)
    assert not (masks[0] & masks[1]).all()
    assert np.array_equal((masks[0] | masks[1]).astype(np.uint8), record.read_reference())


def test_a_reference_holds_the_number_of_its_class(busi: Path) -> None:
    """Benign is 1, malignant 2, and a normal image is all background."""
    numbers = {record.kind: set(np.unique(record.read_reference()).tolist()) for record in read_busi(busi)}

    assert {"benign": {0, 1}, "malignant": {0, 2}, "normal": {0}} == numbers


def test_the_curation_table_covers_busi() -> None:
    """780 images of three kinds, twenty of them in scenes that contradict themselves."""
    rows = curation().values()

    assert 780 == len(rows)
    assert {"benign": 437, "malignant": 210, "normal": 133} == {
        kind: sum(row["class"] == kind for row in rows) for kind in ("benign", "malignant", "normal")
    }
    assert 20 == sum(row["group_has_class_conflict"] == "1" for row in rows)


def test_an_image_that_busi_does_not_have_is_a_scene_of_its_own(make_busi: MakeBusi) -> None:
    """Nothing is known of it, so nothing is claimed."""
    records = read_busi(make_busi([("benign", 2)]))

    assert {record.name for record in records} == {record.scene for record in records}


# Each takes a copy of BUSI, spoils one thing, and answers with the words that must be said of it.


def _spoil_mask_missing(root: Path) -> str:
    (root / "benign" / "benign (1001)_mask.png").unlink()
    return "its mask benign (1001)_mask.png is missing"


def _spoil_image_missing(root: Path) -> str:
    (root / "benign" / "benign (1001).png").unlink()
    return "a mask without its image"


def _spoil_image(root: Path) -> str:
    path = root / "benign" / "benign (1001).png"
    path.write_bytes(path.read_bytes()[:200])
    return "cannot be read"


def _spoil_mask_size(root: Path) -> str:
    PillowImage.new("L", (10, 20), 255).save(root / "benign" / "benign (1001)_mask.png")
    return "20 x 10 pixels (rows x columns), its image has 64 x 64"


def _spoil_mask_empty(root: Path) -> str:
    PillowImage.new("L", (64, 64)).save(root / "benign" / "benign (1001)_mask.png")
    return "its mask is empty"


def _spoil_normal(root: Path) -> str:
    PillowImage.new("L", (64, 64), 255).save(root / "normal" / "normal (1001)_mask.png")
    return "a normal image with a lesion in its mask"


def _spoil_folder(root: Path) -> str:
    (root / "begnin").mkdir()
    return "an unknown folder"


def _spoil_name(root: Path) -> str:
    PillowImage.new("L", (64, 64)).save(root / "benign" / "scan7.png")
    return "not named as BUSI's files are"


def _spoil_kind(root: Path) -> str:
    PillowImage.new("L", (64, 64)).save(root / "benign" / "malignant (7).png")
    return "not named as BUSI's files are"


SPOILS = (
    _spoil_mask_missing,
    _spoil_image_missing,
    _spoil_image,
    _spoil_mask_size,
    _spoil_mask_empty,
    _spoil_normal,
    _spoil_folder,
    _spoil_name,
    _spoil_kind,
)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_fault_is_named(make_busi: MakeBusi, spoil: Callable[[Path], str]) -> None:
    """Each fault of a copy stops the reading with a line that says which file and what."""
    root = make_busi([("benign", 2), ("normal", 1)])
    words = spoil(root)

    with pytest.raises(DatasetInvalid) as caught:
        read_busi(root)

    assert 1 == len(caught.value.problems)
    assert words in caught.value.problems[0]


def test_all_faults_are_named_at_once(make_busi: MakeBusi) -> None:
    """A user mends a copy in one go, not one fault a run."""
    root = make_busi([("benign", 3), ("normal", 1)])
    _spoil_mask_missing(root)
    _spoil_folder(root)
    _spoil_normal(root)

    with pytest.raises(DatasetInvalid) as caught:
        read_busi(root)

    assert 3 == len(caught.value.problems)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_busi_is_refused(tmp_path: Path, name: str) -> None:
    """A wrong path is not a data set of no images."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(DatasetInvalid):
        read_busi(tmp_path / name)
