"""A reduced precision is measured against the full one, and a version says what came of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from safetensors.torch import save_file

from efsnet.maps import ProbabilityMap
from efsnet.network import EFSNet
from efsnet.predictor import Engine, Predictor, has_bfloat16
from efsnet.specification import PostProcessing, Specification
from training.configuration import read_configuration
from training.datasets.busi import read_busi
from training.datasets.folds import Split
from training.datasets.records import Record
from training.errors import NothingToTest, RunUnusable
from training.evaluation.operating_point import OperatingPoint
from training.precision import _compared, compare_precisions, measured_precisions
from training.run_folder import RunFolder
from training.specification import specification

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


def test_each_precision_is_compared_on_what_was_held_out(run: RunFolder, records: tuple[Record, ...]) -> None:
    """Eight bits always, bfloat16 where the processor has it, and the versions' own kinds are kept for publishing."""
    changes = {change.precision: change for change in compare_precisions(run, records)}

    assert {"int8", "bf16"} if has_bfloat16() else {"int8"} == changes.keys()
    for change in changes.values():
        value, low, high = change.dice
        assert 3 == change.images
        assert low <= value <= high
        assert 0 <= change.differing_pixels <= 1
    assert [change.measured() for change in changes.values() if change.precision == "bf16"] == list(
        measured_precisions(run)
    )


class Drawn:
    """Stands for a predictor that draws the reference's disc, a number of columns too far to the right."""

    def __init__(self, specification: Specification, shift: int) -> None:
        self.specification = specification
        self.engine = Engine("drawn", "by hand", "f32", 1)
        self._shift = shift

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """Benign where the image is black."""
        benign = np.roll(tensor[0] == 0, self._shift, axis=1).astype(np.float32)
        return ProbabilityMap(np.stack([1 - benign, benign, 0 * benign]))


def test_the_change_is_that_of_each_image_by_itself(tmp_path: Path) -> None:
    """A square of eight columns moved by two keeps three quarters of its Dice, and 32 of 4,096 pixels differ."""
    image, mask = np.full((64, 64), 200, np.uint8), np.zeros((64, 64), np.uint8)
    image[16:24, 16:24], mask[16:24, 16:24] = 0, 255
    for name, pixels in (("image.png", image), ("mask.png", mask)):
        PillowImage.fromarray(pixels).save(tmp_path / name)
    record = Record("image", tmp_path / "image.png", (tmp_path / "mask.png",), "benign", "scene", dataset="set")
    rules = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0, fill_holes=False, one_class_per_lesion=True)
    drawn = [cast("Predictor", Drawn(specification(64, rules), shift)) for shift in (0, 2)]

    (change,) = _compared(drawn[0], {"int8": drawn[1]}, [record])

    assert (-0.25, -0.25, -0.25) == pytest.approx(change.dice)
    assert 32 / 64**2 == change.differing_pixels


def test_figures_of_other_weights_are_not_published(run: RunFolder, records: tuple[Record, ...]) -> None:
    """Trained on or changed by hand, the network must be measured again; a run that never was says nothing."""
    assert () == measured_precisions(run)

    compare_precisions(run, records)
    torch.manual_seed(1)
    save_file(EFSNet().state_dict(), run.weights_file)

    with pytest.raises(RunUnusable, match="run `precision` again"):
        measured_precisions(run)


def test_damaged_figures_are_refused(run: RunFolder) -> None:
    """They decide how masks are computed."""
    run.precisions_file.write_text('{"weights": "', encoding="utf-8")

    with pytest.raises(RunUnusable, match="damaged: run `precision` again"):
        measured_precisions(run)


def test_a_run_that_holds_out_no_tumour_cannot_be_measured(run: RunFolder, records: tuple[Record, ...]) -> None:
    """There would be no Dice to compare."""
    split = Split(train=records[:5], validation=(), test=records[5:], left_out=())
    run.split_file.write_text(split.as_csv(), encoding="utf-8")

    with pytest.raises(NothingToTest, match="no image with a tumour"):
        compare_precisions(run, records)
