"""Thresholds and temperature come from the validation part, and are the right ones."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import to_label_map
from training.errors import RunUnusable
from training.evaluation.operating_point import (
    OperatingPoint,
    choose,
    fit_temperature,
    read_operating_point,
    sampled,
    tempered,
)
from training.run_folder import RunFolder

SIDE = 64


def tumour_map(tumour: NDArray[np.float64]) -> ProbabilityMap:
    """Tumour probabilities, all of it benign."""
    return ProbabilityMap(np.stack([1 - tumour, tumour, np.zeros_like(tumour)]).astype(np.float32))


def square(rows: slice, value: float, background: float) -> NDArray[np.float64]:
    """One value in a rectangle, another around it."""
    array = np.full((SIDE, SIDE), background)
    array[rows, 20:40] = value
    return array


LESION = LabelMap(square(slice(20, 40), 1, 0).astype(np.uint8))
NOTHING = LabelMap(np.zeros((SIDE, SIDE), dtype=np.uint8))


def test_the_temperature_of_an_overconfident_network_is_found() -> None:
    """Logits doubled on purpose have temperature 2."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (SIDE * 4, SIDE * 4))
    truth = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    over = 1 / (1 + np.exp(-2 * logits))

    assert fit_temperature([sampled(tumour_map(over), LabelMap(truth))]) == pytest.approx(2, abs=0.1)


def test_tempering_divides_logits() -> None:
    """A probability of 0.9 at temperature 2 is that of half its logit."""
    at_two = tempered(tumour_map(np.full((SIDE, SIDE), 0.9)), 2.0)

    assert at_two.tumour.mean() == pytest.approx(1 / (1 + np.exp(-0.5 * np.log(9))), abs=1e-5)
    assert at_two.array.sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_tempering_back_gives_what_was_there() -> None:
    """A published graph holds its temperature; what it said before is the inverse."""
    before = tumour_map(np.random.default_rng(0).uniform(0.01, 0.99, (SIDE, SIDE)))

    assert tempered(tempered(before, 1.8), 1 / 1.8).array == pytest.approx(before.array, abs=1e-5)


def test_a_low_threshold_is_chosen_where_lesions_are_faint() -> None:
    """A network that never says more than 0.33 is not asked for 0.5."""
    faint = tumour_map(square(slice(20, 40), 0.33, 0.02))
    point = choose([(faint, LESION), (tumour_map(np.full((SIDE, SIDE), 0.02)), NOTHING)])

    assert np.array_equal(LESION.array, to_label_map(tempered(faint, point.temperature), point.rules()).array)


def test_a_minimum_area_is_chosen_that_drops_false_alarms() -> None:
    """Specks on normal images go, lesions stay."""
    speck = np.full((SIDE, SIDE), 0.01)
    speck[:4, :4] = 0.99
    lesion = tumour_map(square(slice(20, 40), 0.99, 0.01))
    point = choose([(lesion, LESION), (tumour_map(speck), NOTHING), (tumour_map(speck), NOTHING)])

    assert point.minimum_area_fraction > 16 / SIDE**2
    assert not to_label_map(tempered(tumour_map(speck), point.temperature), point.rules()).array.any()
    assert np.array_equal(LESION.array, to_label_map(tempered(lesion, point.temperature), point.rules()).array)


def test_of_equally_good_candidates_the_lowest_is_chosen() -> None:
    """A certain network leaves the choice open: it is the same each time."""
    certain = tumour_map(square(slice(20, 40), 1.0, 0.0))

    point = choose([(certain, LESION)])

    assert (0.2, 0.0) == (point.tumour_threshold, point.minimum_area_fraction)


def test_an_operating_point_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """A run says what was chosen for it."""
    point = OperatingPoint(1.25, 0.45, 0.002)
    RunFolder(tmp_path).operating_point_file.write_text(point.as_json(), encoding="utf-8")

    assert point == read_operating_point(RunFolder(tmp_path))


@pytest.mark.parametrize("text", [None, "", "{}", '{"temperature": 1, "threshold": 2}'])
def test_a_run_that_is_not_evaluated_says_so(tmp_path: Path, text: str | None) -> None:
    """Nothing is published with thresholds that nobody chose."""
    if text is not None:
        RunFolder(tmp_path).operating_point_file.write_text(text, encoding="utf-8")

    with pytest.raises(RunUnusable, match="evaluate"):
        read_operating_point(RunFolder(tmp_path))


def test_a_rule_can_be_left_out_to_see_what_it_is_worth() -> None:
    """The others stay as the validation part chose them."""
    point = OperatingPoint(temperature=1.2, tumour_threshold=0.4, minimum_area_fraction=0.003)
    whole = point.rules()

    assert (0.4, 0.003, True, True) == (
        *(whole.tumour_threshold, whole.minimum_area_fraction),
        *(whole.fill_holes, whole.one_class_per_lesion),
    )
    assert whole.model_copy(update={"minimum_area_fraction": 0.0}) == point.rules({"area"})
    assert whole.model_copy(update={"fill_holes": False}) == point.rules({"holes"})
    assert whole.model_copy(update={"one_class_per_lesion": False}) == point.rules({"vote"})
