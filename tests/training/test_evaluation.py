"""Thresholds and temperature come from the validation part, and are the right ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.maps import LabelMap, ProbabilityMap
from training.datasets.records import Record
from training.errors import RunUnusable
from training.evaluation import (
    OperatingPoint,
    Predicted,
    calibrated,
    choose,
    evaluate,
    fit_temperature,
    read_operating_point,
)
from training.run import RunFolder

SIDE = 64


def predicted(tumours: Sequence[NDArray[np.float64]], references: Sequence[NDArray[np.uint8]]) -> Predicted:
    """Tumour probabilities, all of it benign, beside references."""
    kinds = ["benign" if reference.any() else "normal" for reference in references]
    return Predicted(
        tuple(Record(str(n), Path(), (), kind, scene=str(n)) for n, kind in enumerate(kinds)),
        tuple(
            ProbabilityMap(np.stack([1 - tumour, tumour, np.zeros_like(tumour)]).astype(np.float32))
            for tumour in tumours
        ),
        tuple(LabelMap(reference) for reference in references),
    )


def square(rows: slice, value: float, background: float) -> NDArray[np.float64]:
    """One value in a rectangle, another around it."""
    array = np.full((SIDE, SIDE), background)
    array[rows, 20:40] = value
    return array


LESION = (square(slice(20, 40), 1, 0)).astype(np.uint8)
NOTHING = np.zeros((SIDE, SIDE), dtype=np.uint8)


def test_the_temperature_of_an_overconfident_network_is_found() -> None:
    """Logits doubled on purpose have temperature 2."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (SIDE * 4, SIDE * 4))
    truth = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    over = 1 / (1 + np.exp(-2 * logits))

    assert fit_temperature(predicted([over], [truth])) == pytest.approx(2, abs=0.1)


def test_tempering_divides_logits() -> None:
    """A probability of 0.9 at temperature 2 is that of half its logit."""
    at_two = calibrated(predicted([np.full((SIDE, SIDE), 0.9)], [LESION]), 2.0).probability_maps[0]

    assert at_two.tumour.mean() == pytest.approx(1 / (1 + np.exp(-0.5 * np.log(9))), abs=1e-5)
    assert at_two.array.sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_a_low_threshold_is_chosen_where_lesions_are_faint() -> None:
    """A network that never says more than 0.3 is not asked for 0.5."""
    faint = square(slice(20, 40), 0.33, 0.02)
    point = choose(predicted([faint, np.full((SIDE, SIDE), 0.02)], [LESION, NOTHING]))

    assert (
        1.0 == evaluate(calibrated(predicted([faint], [LESION]), point.temperature), point.rules())["lesion_dice"].value
    )


def test_a_minimum_area_is_chosen_that_drops_false_alarms() -> None:
    """Specks on normal images go, lesions stay."""
    speck = np.full((SIDE, SIDE), 0.01)
    speck[:4, :4] = 0.99
    lesion = square(slice(20, 40), 0.99, 0.01)
    validation = predicted([lesion, speck, speck], [LESION, NOTHING, NOTHING])
    point = choose(validation)
    figures = evaluate(calibrated(validation, point.temperature), point.rules())

    assert point.minimum_area_fraction > 16 / SIDE**2
    assert 0 == figures["false_alarms"].value
    assert 1 == figures["lesion_dice"].value


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
