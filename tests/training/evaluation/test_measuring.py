"""Everything measured of an image is what a person works out by hand, and what the libraries give."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torchmetrics.functional.classification import multiclass_calibration_error

from efsnet.image import Image, PixelSpacing
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.manifest import Draft
from training.datasets.records import Record
from training.evaluation.cases import Case, EvaluationFolder
from training.evaluation.confidence import calibration_error
from training.evaluation.measuring import (
    Matched,
    Subject,
    boundary_distances,
    calibrations,
    confusion_counts,
    match,
    measure_all,
    measure_case,
    predictions,
)

SIDE = 20


def mask(*boxes: tuple[slice, slice], side: int = SIDE) -> NDArray[np.bool_]:
    """Rectangles of a square."""
    array = np.zeros((side, side), dtype=np.bool_)
    for rows, columns in boxes:
        array[rows, columns] = True
    return array


EMPTY = mask()
LESION = mask((slice(5, 15), slice(5, 15)))
HALF = mask((slice(5, 10), slice(5, 15)))
SHIFTED = mask((slice(5, 15), slice(7, 17)))
TWO = mask((slice(2, 6), slice(2, 6)), (slice(12, 18), slice(12, 18)))
ONE_OF_TWO = mask((slice(12, 18), slice(12, 18)))
BORDER = mask((slice(0, 4), slice(0, SIDE)))
CORNER = mask((slice(0, 6), slice(0, SIDE)))


@pytest.mark.parametrize(
    ("found", "lesion", "matched"),
    [
        (EMPTY, EMPTY, Matched(0, 0, 0, 0, 0)),
        (EMPTY, LESION, Matched(1, 0, 0, 0, 0)),
        (LESION, EMPTY, Matched(0, 0, 0, 1, 100)),
        (HALF, LESION, Matched(1, 1, 1, 0, 50)),
        (SHIFTED, LESION, Matched(1, 1, 1, 0, 100)),
        (ONE_OF_TWO, TWO, Matched(2, 1, 1, 0, 36)),
        (TWO, ONE_OF_TWO, Matched(1, 1, 1, 1, 36)),
        (mask((slice(0, SIDE), slice(0, SIDE))), TWO, Matched(2, 0, 0, 1, 400)),
        (BORDER, CORNER, Matched(1, 1, 1, 0, 80)),
    ],
    ids=["empty", "miss", "false alarm", "half", "shifted", "one of two", "one too many", "all in one", "border"],
)
def test_each_lesion_is_matched_by_one_at_most(
    found: NDArray[np.bool_], lesion: NDArray[np.bool_], matched: Matched
) -> None:
    """A mark over two lesions finds one of them, and only if it overlaps enough."""
    assert matched == match(found, lesion)


@pytest.mark.parametrize(
    ("found", "lesion", "hd95", "assd"),
    [
        (EMPTY, EMPTY, None, None),
        (EMPTY, LESION, None, None),
        (LESION, EMPTY, None, None),
        (LESION, LESION, 0.0, 0.0),
        (BORDER, BORDER, 0.0, 0.0),
        (mask((slice(3, 4), slice(3, 4))), mask((slice(3, 4), slice(7, 8))), 4.0, 4.0),
        (mask((slice(0, 1), slice(0, SIDE))), mask((slice(3, 4), slice(0, SIDE))), 3.0, 3.0),
    ],
    ids=["empty", "miss", "false alarm", "same", "same at the border", "two points", "lines, one at the border"],
)
def test_distances_of_outlines_are_those_of_the_definition(
    found: NDArray[np.bool_], lesion: NDArray[np.bool_], hd95: float | None, assd: float | None
) -> None:
    """Nothing is made up where one of them is empty."""
    assert (hd95, assd) == boundary_distances(found, lesion)


def test_distances_take_the_worse_direction_and_both_on_average() -> None:
    """A second lesion is far from the first one's outline; seen from the first, nothing is missing."""
    square = [(row, column) for row in range(2, 6) for column in range(2, 6) if {row, column} & {2, 5}]
    far = [float(np.hypot(12 - row, 12 - column)) for row, column in square]
    none = [0.0] * 20  # the outline of a square of 6 x 6
    hd95, assd = boundary_distances(TWO, ONE_OF_TWO)

    assert hd95 == pytest.approx(np.percentile([*far, *none], 95))
    assert assd == pytest.approx(np.mean([*far, *none, *none]))


def test_pixels_are_counted_by_reference_and_prediction() -> None:
    """Rows of the reference, columns of the prediction."""
    reference = LabelMap((LESION * 2).astype(np.uint8))
    predicted = LabelMap((HALF * 1 + ONE_OF_TWO * 2 * ~LESION).astype(np.uint8))

    assert (273, 0, 27, 0, 0, 0, 50, 50, 0) == confusion_counts(predicted, reference)


@pytest.mark.parametrize("found", [HALF, SHIFTED, ONE_OF_TWO, EMPTY])
@pytest.mark.requirement("TRAIN-3")
def test_dice_of_a_case_is_monais(found: NDArray[np.bool_]) -> None:
    """Worked out from the counts, which are all that a case keeps."""
    counts = confusion_counts(LabelMap(found.astype(np.uint8)), LabelMap(LESION.astype(np.uint8)))
    case = replace(of_counts(counts), kind="benign")
    expected = compute_dice(torch.from_numpy(found)[None, None], torch.from_numpy(LESION)[None, None])

    assert case.dice == pytest.approx(expected.item())
    assert case.iou == pytest.approx(case.dice / (2 - case.dice))


def of_counts(counts: tuple[int, ...]) -> Case:
    """A case of which nothing matters but its counts."""
    anything = calibrations(random_map(), LabelMap(np.zeros((64, 64), np.uint8)))
    return Case(
        "BUSI", "1.png", "1", "BUSI/1", "normal", counts, 0, 0, 0, 0, 0.0, 1, 1, 0.0, 0.0, 0.0, 0.0, anything, anything
    )


def random_map(side: int = 64) -> ProbabilityMap:
    """Three classes that add up to 1."""
    raw = np.random.default_rng(0).gamma(0.5, size=(3, side, side))
    return ProbabilityMap((raw / raw.sum(axis=0)).astype(np.float32))


@pytest.mark.requirement("TRAIN-3")
def test_calibration_is_torchmetrics() -> None:
    """Fifteen bins of the most probable class; Brier is the mean squared distance of all three."""
    probabilities = random_map()
    reference = np.random.default_rng(1).integers(0, 3, (64, 64)).astype(np.uint8)
    everywhere, band = calibrations(probabilities, LabelMap(reference))
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities.array.reshape(3, -1).T),
        torch.from_numpy(reference.ravel().astype(np.int64)),
        num_classes=3,
        n_bins=15,
    )
    right = np.eye(3)[reference].transpose(2, 0, 1)

    assert calibration_error(np.array(everywhere.histogram)) == pytest.approx(expected.item(), abs=1e-6)
    assert everywhere.brier == pytest.approx(((probabilities.array - right) ** 2).sum(), rel=1e-5)
    assert 64 * 64 == sum(count for count, _, _ in band.histogram)


def test_the_band_lies_within_ten_pixels_of_the_outline() -> None:
    """On both sides of it; a normal image has none."""
    lesion = mask((slice(30, 70), slice(30, 70)), side=100)
    probabilities = random_map(100)
    _, band = calibrations(probabilities, LabelMap(lesion.astype(np.uint8)))
    _, none = calibrations(probabilities, LabelMap(np.zeros((100, 100), np.uint8)))

    inside, corner = 40**2 - 20**2, sum(row**2 + column**2 <= 100 for row in range(1, 11) for column in range(1, 11))
    assert inside + 4 * 40 * 10 + 4 * corner == sum(count for count, _, _ in band.histogram)
    assert sum(count for count, _, _ in none.histogram) == none.brier == 0


@pytest.fixture
def subject(tiny_model_bytes: bytes, tiny_draft: Draft) -> Subject:
    """The network that goes by brightness: 0.9 for the class it sees, and 0.05 for the others."""
    specified = tiny_draft.specification
    return Subject(
        Predictor(tiny_model_bytes, specified, Computation(provider="cpu")), specified.post_processing, 1.0, 2.0
    )


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A malignant square, bright and so called malignant, in 128 x 160 pixels; and a grey one that is nothing."""
    grey, lesion = np.full((128, 160), 30, np.uint8), np.zeros((128, 160), np.uint8)
    lesion[20:100, 40:120] = 255
    grey[lesion > 0] = 230
    grey[110:126, 130:150] = 150
    for name, pixels in (("image", grey), ("mask", lesion)):
        PillowImage.fromarray(pixels).save(tmp_path / f"{name}.png")
    return Record(
        "image.png", tmp_path / "image.png", (tmp_path / "mask.png",), "malignant", "1", device="A", remarks=("text",)
    )


def test_a_case_says_all_of_its_image(subject: Subject, record: Record) -> None:
    """Of a drawn image on which everything is known beforehand."""
    case, label_map = measure_case(subject, record)

    assert (64, 64) == label_map.array.shape
    assert (128, 160, "A", ("text",)) == (case.rows, case.columns, case.device, case.remarks)
    assert (1, 1, 1, 1) == (case.lesions, case.lesions_found_50, case.lesions_found_10, case.false_lesions)
    assert case.reference_share == pytest.approx(80 * 80 / (128 * 160), rel=0.05)
    assert case.largest_share == pytest.approx(case.reference_share, rel=0.1)
    assert case.predicted_share == pytest.approx(case.reference_share + 16 * 20 / (128 * 160), rel=0.1)
    assert case.reference_axis_px == pytest.approx(80 * np.sqrt(2), rel=0.02)
    assert case.predicted_axis_px == pytest.approx(case.reference_axis_px, rel=0.05)
    assert "malignant" == case.predicted_kind
    assert case.malignant_share == pytest.approx(0.78, abs=0.02)  # 0.81 in the square, 0.19 in the other lesion
    assert case.hd95_px is not None
    assert case.hd95_px > 10
    assert case.row_mm is case.predicted_axis_mm is None


def test_temperature_changes_what_is_said_and_the_case_keeps_both(subject: Subject, record: Record) -> None:
    """0.9 of which 1 in 20 is wrong is nearly right; at temperature 2 it is said with 0.68."""
    case, _ = measure_case(subject, record)

    said = [sum(bin_[1] for bin_ in c.histogram) / 64**2 for c in (case.before[0], case.after[0])]
    assert said == pytest.approx([0.9, np.sqrt(0.9) / (np.sqrt(0.9) + 2 * np.sqrt(0.05))], abs=0.01)


def test_millimetres_are_there_where_the_spacing_is_known(subject: Subject, record: Record) -> None:
    """And axes are measured in them, rows and columns each by their own."""

    class Spaced(Record):
        def read_image(self) -> Image:
            return replace(super().read_image(), spacing=PixelSpacing(0.1, 0.2))

    case, _ = measure_case(subject, Spaced(record.name, record.image, record.masks, record.kind, record.scene))

    assert (0.1, 0.2) == (case.row_mm, case.column_mm)
    assert case.reference_axis_mm == pytest.approx(np.hypot(8, 16), rel=0.02)


def test_an_image_of_nothing_has_no_distances_and_no_type(subject: Subject, record: Record, tmp_path: Path) -> None:
    """A normal image on which nothing is marked: nothing to be wrong about."""
    for name, level in (("image", 30), ("mask", 0)):
        PillowImage.fromarray(np.full((64, 64), level, np.uint8)).save(tmp_path / f"{name}.png")
    case, _ = measure_case(subject, replace(record, kind="normal"))

    assert "normal" == case.predicted_kind
    assert 1.0 == case.dice == case.iou
    assert case.malignant_share is case.hd95_px is case.assd_px is None
    assert 0 == case.predicted_axis_px == case.reference_axis_px
    assert 0 == case.largest_share == case.false_lesions
    assert case.mirror_difference == pytest.approx(0)


def test_all_that_is_measured_is_kept(subject: Subject, record: Record, tmp_path: Path) -> None:
    """Cases read back as they were measured, with the label map as a picture whose pixels are class numbers."""
    folder = EvaluationFolder(tmp_path / "evaluation")
    cases = measure_all(replace(subject, fold=3, seed=7), [record], folder)

    assert cases == folder.read()
    assert [(3, 7)] == [(case.fold, case.seed) for case in cases]
    with PillowImage.open(tmp_path / "evaluation/label_maps/BUSI/image.png") as label_map:
        assert [0, 1, 2] == np.unique(np.asarray(label_map)).tolist()


def test_predictions_come_one_at_a_time(subject: Subject, record: Record) -> None:
    """With the reference on the network's grid; nothing is read before it is asked for."""
    missing = replace(record, image=Path("nowhere.png"))
    stream = predictions(subject.predictor, [record, missing])
    probability_map, reference = next(stream)

    assert probability_map.array.shape[1:] == reference.array.shape == (64, 64)
    assert 2 == reference.array.max()
    with pytest.raises(FileNotFoundError):
        next(stream)
