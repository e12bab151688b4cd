"""Every figure has the value that a person works out by hand."""

import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice
from numpy.typing import NDArray

from efsnet.maps import LabelMap
from training.metrics import Figure, confusion_counts, figures

SIDE = 20


def label_map(*boxes: tuple[int, slice, slice]) -> LabelMap:
    """A label map with rectangles of class numbers."""
    array = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for number, rows, columns in boxes:
        array[rows, columns] = number
    return LabelMap(array)


EMPTY = label_map()
BENIGN = label_map((1, slice(5, 15), slice(5, 15)))
MALIGNANT = label_map((2, slice(5, 15), slice(5, 15)))
HALF = label_map((1, slice(5, 10), slice(5, 15)))
TWO = label_map((1, slice(2, 6), slice(2, 6)), (1, slice(12, 18), slice(12, 18)))
ONE_OF_TWO = label_map((1, slice(12, 18), slice(12, 18)))
BORDER = label_map((2, slice(0, 4), slice(0, SIDE)))


def of(*pairs: tuple[LabelMap, LabelMap]) -> dict[str, Figure]:
    """Figures of (prediction, reference) pairs; the reference's largest number is the image's class."""
    predictions, references = zip(*pairs, strict=True)
    kinds: NDArray[np.int64] = np.array([reference.array.max() for reference in references], dtype=np.int64)
    alarmed = np.array([prediction.array.any() for prediction in predictions])
    return dict(figures(confusion_counts(predictions, references, 3), kinds, alarmed))


def test_a_perfect_answer_has_perfect_figures() -> None:
    """Dice and IoU 1, nothing missed, no alarm, types right."""
    values = of((BENIGN, BENIGN), (MALIGNANT, MALIGNANT), (EMPTY, EMPTY))

    for name in ("lesion_dice", "lesion_iou", "tumour_iou_pooled", "mean_iou_pooled", "type_right_when_found"):
        assert values[name].value == 1
    assert values["missed_lesions"].value == values["false_alarms"].value == 0


@pytest.mark.parametrize(
    ("prediction", "reference", "dice", "iou"),
    [
        (EMPTY, BENIGN, 0.0, 0.0),
        (HALF, BENIGN, 2 * 50 / 150, 0.5),
        (ONE_OF_TWO, TWO, 2 * 36 / (36 + 52), 36 / 52),
        (BORDER, BORDER, 1.0, 1.0),
        (MALIGNANT, BENIGN, 1.0, 1.0),
    ],
    ids=["missed", "half", "one lesion of two", "touching the border", "of the other type"],
)
def test_dice_and_iou_are_those_of_the_definition(
    prediction: LabelMap, reference: LabelMap, dice: float, iou: float
) -> None:
    """Image by image, benign and malignant taken together."""
    values = of((prediction, reference))

    assert values["lesion_dice"].value == pytest.approx(dice)
    assert values["lesion_iou"].value == pytest.approx(iou)
    found, expected = (torch.from_numpy(m.array[None, None] > 0) for m in (prediction, reference))
    monai = compute_dice(found, expected)
    assert values["lesion_dice"].value == pytest.approx(monai.item())


def test_pooled_iou_counts_pixels_and_not_images() -> None:
    """A large lesion weighs more than a small one, and a false alarm on a normal image counts."""
    values = of((HALF, BENIGN), (BORDER, BORDER), (HALF, EMPTY))

    assert values["tumour_iou_pooled"].value == pytest.approx((50 + 80) / (100 + 80 + 50))
    assert values["benign_iou_pooled"].value == pytest.approx(50 / 150)
    assert values["malignant_iou_pooled"].value == 1


def test_false_alarms_are_counted_over_normal_images_alone() -> None:
    """One of two healthy breasts alarmed is one half, however many tumours there are."""
    values = of((BENIGN, EMPTY), (EMPTY, EMPTY), (BENIGN, BENIGN))

    assert 0.5 == values["false_alarms"].value
    assert 2 == values["false_alarms"].count


def test_a_sliver_is_a_miss() -> None:
    """Less than a tenth of the union found is not found."""
    sliver = label_map((1, slice(5, 6), slice(5, 14)))
    values = of((sliver, BENIGN), (BENIGN, BENIGN))

    assert 0.5 == values["missed_lesions"].value


def test_the_type_is_judged_where_a_lesion_was_found() -> None:
    """A missed lesion has no type; a found one has that of most of its pixels."""
    values = of((MALIGNANT, BENIGN), (BENIGN, BENIGN), (EMPTY, MALIGNANT))

    assert 0.5 == values["type_right_when_found"].value
    assert 2 == values["type_right_when_found"].count


def test_an_interval_holds_its_value_and_shrinks_with_more_images() -> None:
    """95 % intervals by resampling, and Wilson's for rates: never a single point for a rate."""
    few = of(*[(HALF, BENIGN), (BENIGN, BENIGN), (EMPTY, BENIGN), (EMPTY, EMPTY)])
    many = of(*[(HALF, BENIGN), (BENIGN, BENIGN), (EMPTY, BENIGN), (EMPTY, EMPTY)] * 20)

    for name in ("lesion_dice", "missed_lesions", "false_alarms"):
        assert few[name].low <= few[name].value <= few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low
    assert (few["false_alarms"].low, few["false_alarms"].high) == pytest.approx((0, 0.7935), abs=1e-3)


def test_figures_without_images_say_so() -> None:
    """No normal image, no rate of false alarms: not a number, of no images."""
    values = of((BENIGN, BENIGN))

    assert np.isnan(values["false_alarms"].value)
    assert 0 == values["false_alarms"].count
