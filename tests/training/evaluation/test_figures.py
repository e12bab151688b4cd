"""Every figure has the value that a person works out by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from efsnet.maps import LabelMap
from training.evaluation.cases import BINS, Calibration, Case
from training.evaluation.figures import HEADLINE, figures, groups
from training.evaluation.sample import Figure

MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]
Of = Callable[..., Mapping[str, Figure]]

MIDDLE = slice(5, 15)
BENIGN = ((1, MIDDLE, MIDDLE),)
MALIGNANT = ((2, MIDDLE, MIDDLE),)
HALF = ((1, slice(5, 10), MIDDLE),)
TWO = ((1, slice(2, 6), slice(2, 6)), (1, slice(12, 18), slice(12, 18)))
ONE_OF_TWO = TWO[1:]
BORDER = ((2, slice(0, 4), slice(0, 20)),)
SPECK = ((1, slice(0, 1), slice(0, 1)),)
EMPTY = ()


@pytest.fixture
def of(label_map: MakeMap, case: MakeCase) -> Of:
    """Figures of (prediction, reference) pairs of rectangles, and of whatever else is said of each case."""

    def make(*pairs: Any) -> Mapping[str, Figure]:
        return figures(
            [
                case(label_map(*predicted), label_map(*reference), **(others[0] if others else {}))
                for predicted, reference, *others in pairs
            ]
        )

    return make


def test_a_perfect_answer_has_perfect_figures(of: Of) -> None:
    """Dice and IoU 1, nothing missed, no alarm, types right, outlines and areas the same."""
    values = of((BENIGN, BENIGN), (MALIGNANT, MALIGNANT), (EMPTY, EMPTY))

    for name in (
        *("lesion_dice", "lesion_iou", "lesion_dice_above_half", "sensitivity_iou_50", "sensitivity_iou_10"),
        *("tumour_iou_pooled", "mean_iou_pooled", "mean_dice_pooled_without_background", "mean_iou_background_tumour"),
        *("type_right_when_found", "image_accuracy", "image_balanced_accuracy"),
    ):
        assert 1 == values[name].value, name
    for name in (
        *("missed_lesions", "false_alarms", "false_alarms_large", "false_area", "false_lesions"),
        *("hd95_px", "assd_diagonal", "hd95_diagonal_with_misses", "area_error", "area_bias", "axis_px_error", "ece"),
    ):
        assert 0 == values[name].value, name


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
    of: Of, prediction: object, reference: object, dice: float, iou: float
) -> None:
    """Image by image, benign and malignant taken together."""
    values = of((prediction, reference))

    assert values["lesion_dice"].value == pytest.approx(dice)
    assert values["lesion_iou"].value == pytest.approx(iou)


def test_pooled_figures_count_pixels_and_not_images(of: Of) -> None:
    """A large lesion weighs more than a small one, and a false alarm on a normal image counts."""
    values = of((HALF, BENIGN), (BORDER, BORDER), (HALF, EMPTY))

    assert values["tumour_iou_pooled"].value == pytest.approx((50 + 80) / (100 + 80 + 50))
    assert values["tumour_dice_pooled"].value == pytest.approx(2 * 130 / (180 + 180))
    assert values["benign_iou_pooled"].value == pytest.approx(50 / 150)
    assert values["benign_dice_pooled"].value == pytest.approx(100 / 200)
    assert values["malignant_iou_pooled"].value == 1
    assert values["background_iou_pooled"].value == pytest.approx(970 / (1020 + 1020 - 970))
    assert values["mean_iou_pooled_without_background"].value == pytest.approx((50 / 150 + 1) / 2)
    assert values["mean_iou_pooled"].value == pytest.approx((50 / 150 + 1 + 970 / 1070) / 3)
    assert values["mean_iou_background_tumour"].value == pytest.approx((130 / 230 + 970 / 1070) / 2)


def test_false_alarms_are_counted_over_normal_images_alone(of: Of) -> None:
    """One of two healthy breasts alarmed is one half, however many tumours there are; a speck is an alarm too."""
    values = of((SPECK, EMPTY), (EMPTY, EMPTY), (BENIGN, BENIGN))

    assert (0.5, 2) == (values["false_alarms"].value, values["false_alarms"].count)
    assert 0 == values["false_alarms_large"].value
    assert values["false_area"].value == pytest.approx(100 * 1 / 400 / 2)
    assert values["false_lesions"].value == pytest.approx(1 / 3)


def test_an_alarm_of_some_size_is_one_lesion_of_that_size(of: Of) -> None:
    """From 0.3 % of the image: of 400 pixels, two that touch."""
    pair = ((1, slice(0, 1), slice(0, 2)),)

    assert 1 == of((pair, EMPTY))["false_alarms_large"].value


def test_lesions_are_found_one_by_one(of: Of) -> None:
    """Three lesions in two images; a half is found, at the very border of 0.5."""
    values = of((ONE_OF_TWO, TWO), (HALF, BENIGN))

    assert values["sensitivity_iou_50"].value == pytest.approx(2 / 3)
    assert values["sensitivity_iou_10"].value == pytest.approx(2 / 3)
    assert 0 == values["missed_lesions"].value


def test_the_type_is_judged_where_a_lesion_was_found(of: Of) -> None:
    """A missed lesion has no type; a found one has that of most of its pixels."""
    values = of((MALIGNANT, BENIGN), (BENIGN, BENIGN), (EMPTY, MALIGNANT), (EMPTY, EMPTY))

    assert (0.5, 2) == (values["type_right_when_found"].value, values["type_right_when_found"].count)
    assert (0.5, 4) == (values["image_accuracy"].value, values["image_accuracy"].count)
    assert values["image_balanced_accuracy"].value == pytest.approx((1 + 0.5 + 0) / 3)


def test_a_missed_malignant_lesion_is_the_least_suspicious(of: Of) -> None:
    """Four images: of the pairs of a malignant and a benign one, a miss loses against any mark."""
    values = of(
        (MALIGNANT, MALIGNANT, {"malignant_share": 0.9}),
        (EMPTY, MALIGNANT),
        (BENIGN, BENIGN, {"malignant_share": 0.2}),
        (BENIGN, BENIGN, {"malignant_share": 0.4}),
    )

    assert 0.5 == values["malignant_auc"].value
    assert 0.5 == values["malignant_sensitivity"].value


def test_distances_are_of_found_lesions_and_a_second_line_punishes_misses(of: Of) -> None:
    """A square moved by two columns has HD95 2; a miss counts the whole diagonal."""
    moved = ((1, MIDDLE, slice(7, 17)),)
    values = of((moved, BENIGN), (EMPTY, BENIGN))
    diagonal = 20 * np.sqrt(2)

    assert (2, 1) == (values["hd95_px"].value, values["hd95_px"].count)
    assert values["hd95_diagonal"].value == pytest.approx(200 / diagonal)
    assert values["hd95_diagonal_with_misses"].value == pytest.approx((200 / diagonal + 100) / 2)
    assert 2 == values["assd_diagonal_with_misses"].count


def test_a_found_lesion_without_a_distance_hides_no_other(of: Of) -> None:
    """A speck that a small image's own grid loses counts the diagonal in the second line, and is not in the first."""
    lost = (BENIGN, BENIGN, {"hd95_px": None, "assd_px": None})
    values = of((BENIGN, BENIGN), lost)

    assert (0, 1) == (values["hd95_px"].value, values["hd95_px"].count)
    assert 50 == values["assd_diagonal_with_misses"].value


def test_areas_and_axes_agree_within_limits(of: Of) -> None:
    """Marked 50 of 100 pixels and 100 of 100, of 400; axes 2 too long and right."""
    values = of((HALF, BENIGN, {"predicted_axis_px": 7.0}), (BENIGN, BENIGN), (EMPTY, BENIGN))
    deviation = 12.5 / np.sqrt(2)

    assert (6.25, 2) == (values["area_error"].value, values["area_error"].count)
    assert values["area_bias"].value == pytest.approx(-6.25)
    assert values["area_limit_low"].value == pytest.approx(-6.25 - 1.96 * deviation)
    assert values["area_limit_high"].value == pytest.approx(-6.25 + 1.96 * deviation)
    assert 1 == values["axis_px_error"].value == values["axis_px_bias"].value
    assert 0 == values["axis_mm_error"].count


def test_millimetres_are_of_images_with_a_spacing(of: Of) -> None:
    """The others are not guessed."""
    spaced = {"row_mm": 0.1, "column_mm": 0.1, "predicted_axis_mm": 1.5, "reference_axis_mm": 1.0}

    assert (0.5, 1) == ((figure := of((BENIGN, BENIGN, spaced), (BENIGN, BENIGN))["axis_mm_error"]).value, figure.count)


def test_calibration_is_of_the_pixels_of_all_images_together(of: Of) -> None:
    """100 pixels said with 0.9 of which 80 are right, and 300 with 0.5 of which 150 are."""
    nothing = ((0.0, 0.0, 0.0),)
    first = Calibration((*nothing * (BINS - 1), (100.0, 90.0, 80.0)), brier=10.0)
    second = Calibration((*nothing * 7, (300.0, 150.0, 150.0), *nothing * (BINS - 8)), brier=30.0)
    values = of((BENIGN, BENIGN, {"after": (first, first)}), (BENIGN, BENIGN, {"after": (second, second)}))

    for region in ("", "_band"):
        assert values[f"ece{region}"].value == pytest.approx(10 / 400)
        assert values[f"brier{region}"].value == pytest.approx(40 / 400)
        assert 0 == values[f"ece{region}_before"].value


def test_the_type_of_an_image_is_to_be_believed_as_often_as_it_is_said(of: Of) -> None:
    """Said 0.9 of two of which one is malignant, and 0.1 of two benign ones; a missed lesion is said nothing of."""
    values = of(
        (MALIGNANT, MALIGNANT, {"malignant_share": 0.9}),
        (MALIGNANT, BENIGN, {"malignant_share": 0.9}),
        (BENIGN, BENIGN, {"malignant_share": 0.1}),
        (BENIGN, BENIGN, {"malignant_share": 0.1}),
        (EMPTY, MALIGNANT),
    )

    assert values["ece_type"].value == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert 4 == values["ece_type"].count


def test_doubt_that_ranks_by_error_is_worth_its_name(of: Of) -> None:
    """Spearman's correlation of 1, and the surest four of five are the best four."""
    pairs = [(BENIGN, BENIGN), (HALF, BENIGN), (ONE_OF_TWO, TWO), (SPECK, BENIGN), (BORDER, BORDER)]
    errors = [0, 1 / 3, 1 - 72 / 88, 1, 0]
    values = of(
        *(
            (*pair, {"expected_error": error + n / 100})
            for n, (pair, error) in enumerate(zip(pairs, errors, strict=True))
        )
    )
    doubt = [error + n / 100 for n, error in enumerate(errors)]

    assert values["expected_error_correlation"].value == pytest.approx(spearmanr(doubt, errors).statistic)
    assert values["expected_error_dice_of_surest"].value == pytest.approx(1 - sum(errors[:3]) / 4)
    assert 0 == values["mirror_difference_correlation"].count


def test_an_interval_holds_its_value_and_shrinks_with_more_images(of: Of) -> None:
    """95 % intervals by resampling, and Wilson's for rates: never a single point for a rate."""
    some = ((HALF, BENIGN), (BENIGN, BENIGN), (EMPTY, BENIGN), (EMPTY, EMPTY))
    few, many = of(*some), of(*some * 20)

    for name in ("lesion_dice", "missed_lesions", "false_alarms"):
        assert few[name].low <= few[name].value <= few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low
    assert (few["false_alarms"].low, few["false_alarms"].high) == pytest.approx((0, 0.7935), abs=1e-3)


def test_figures_without_images_say_so(of: Of) -> None:
    """No normal image, no rate of false alarms: not a number, of no images."""
    values = of((BENIGN, BENIGN))

    assert np.isnan(values["false_alarms"].value)
    assert 0 == values["false_alarms"].count


def test_figures_of_healthy_breasts_alone_are_theirs(of: Of) -> None:
    """Without a tumour there is no Dice, and nothing fails."""
    values = of((SPECK, EMPTY), (EMPTY, EMPTY))

    assert 0.5 == values["false_alarms"].value
    assert 0 == values["lesion_dice"].count == values["malignant_auc"].count


@pytest.mark.parametrize(
    ("unit", "shown", "interval"),
    [
        ("", "0.137", "0.082 to 0.220"),
        ("share", "13.7 %", "8.2 to 22.0 %"),
        ("px", "0.1", "0.1 to 0.2"),
        ("% of the image", "0.14", "0.08 to 0.22"),
    ],
)
def test_a_figure_is_shown_as_people_read_it(unit: str, shown: str, interval: str) -> None:
    """Shares in per cent, lengths with one digit."""
    figure = Figure(0.1368, 0.0817, 0.2202, 95, "", unit=unit)  # type: ignore[arg-type]

    assert (shown, interval) == (figure.shown(), figure.interval())


@pytest.mark.requirement("TRAIN-2")
def test_every_figure_is_defined_where_people_read(of: Of, repository: Path) -> None:
    """Each has a label, a definition, and its line in docs/evaluation.md."""
    values = of((BENIGN, BENIGN))
    described = (repository / "docs" / "evaluation.md").read_text(encoding="utf-8")

    assert [] == [name for name in values if f"`{name}`" not in described]
    assert all(figure.label and figure.definition for figure in values.values())
    assert set(HEADLINE) <= values.keys()


def test_no_figure_is_in_two_groups(label_map: MakeMap, case: MakeCase) -> None:
    """And none has the words of another."""
    grouped = groups([case(label_map(*BENIGN), label_map(*BENIGN))])
    names = [name for group in grouped.values() for name in group]

    assert len(names) == len(set(names))
