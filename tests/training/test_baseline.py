"""How images and answers lie is measured on what a run held out, and a version says so."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from efsnet.network import EFSNet
from model_store.baseline import BRIGHTNESS_EDGES
from training.baseline import _distribution, measure_baseline, measured_baseline
from training.configuration import read_configuration
from training.datasets.busi import read_busi
from training.datasets.folds import Split
from training.datasets.records import Record
from training.errors import RunUnusable
from training.evaluation.operating_point import OperatingPoint
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


@pytest.fixture
def records(make_busi: MakeBusi) -> tuple[Record, ...]:
    """Two images of each kind."""
    return read_busi(make_busi([("benign", 2), ("malignant", 2), ("normal", 2)]))


@pytest.fixture
def run(tmp_path: Path, records: tuple[Record, ...]) -> RunFolder:
    """Finished and evaluated; the first of each kind was learnt from, the second is held out."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    torch.manual_seed(0)
    save_file(EFSNet().state_dict(), folder.weights_file)
    configuration = read_configuration("default").model_copy(update={"input": 64})
    folder.configuration_file.write_text(configuration.model_dump_json(), encoding="utf-8")
    split = Split(train=records[::2], validation=(), test=records[1::2], left_out=())
    folder.split_file.write_text(split.as_csv(), encoding="utf-8")
    point = OperatingPoint(temperature=1.0, tumour_threshold=0.66, minimum_area_fraction=0.0)
    folder.operating_point_file.write_text(point.as_json(), encoding="utf-8")
    return folder


def test_a_baseline_is_of_the_images_that_were_held_out(run: RunFolder, records: tuple[Record, ...]) -> None:
    """With the brightness as it is reckoned of a hospital's images, and each class's share."""
    baseline = measure_baseline(run, records)
    brightness = [float(record.read_image().pixels[::4, ::4].mean()) / 255 for record in records[1::2]]

    assert 3 == baseline.images
    assert _distribution(brightness, BRIGHTNESS_EDGES) == baseline.brightness
    assert {"benign", "malignant"} == baseline.class_fraction.keys()
    assert baseline == measured_baseline(run)


def test_a_bound_belongs_to_its_bin() -> None:
    """And what is above the last is in it too."""
    assert (0.25, 0.75) == _distribution([0.5, 0.6, 1.0, 1.5], (0.5, 1.0)).shares


def test_a_run_without_one_has_none(run: RunFolder) -> None:
    """A version can be published without."""
    assert measured_baseline(run) is None


@pytest.mark.parametrize("damage", ["{", "{}", '{"weights": "x", "baseline": {}}'])
def test_a_damaged_baseline_is_refused(run: RunFolder, damage: str) -> None:
    """In words that say what to do."""
    run.baseline_file.write_text(damage, encoding="utf-8")

    with pytest.raises(RunUnusable, match="run `baseline` again"):
        measured_baseline(run)


def test_a_baseline_of_other_weights_is_refused(run: RunFolder, records: tuple[Record, ...]) -> None:
    """The run went on, or was begun anew."""
    measure_baseline(run, records)
    torch.manual_seed(1)
    save_file(EFSNet().state_dict(), run.weights_file)

    with pytest.raises(RunUnusable, match="other weights"):
        measured_baseline(run)
