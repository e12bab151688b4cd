"""Statistics of weights are the libraries' own where nothing is weighted, and intervals are those of whole groups."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torchmetrics.functional.classification import binary_auroc, binary_sensitivity_at_specificity

from training.evaluation.resampling import (
    Numbers,
    Statistic,
    area_under_curve,
    deviation_bound,
    draw,
    interval,
    mean,
    mean_of_surest,
    median,
    pooled,
    rank_correlation,
    ratio,
    risk_coverage_area,
    sensitivity_at,
    wilson,
)

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=41)
OTHERS = np.round(VALUES + RANDOM.normal(size=41), 1)  # rounded, so that some are equal
POSITIVE = RANDOM.random(41) < 0.4


def of(statistic: Statistic, weights: Numbers | None = None) -> float:
    """The value of a statistic of 41 cases, each drawn once by default."""
    return float(statistic(np.ones((1, 41)) if weights is None else weights[np.newaxis])[0])


def test_means_and_medians_are_numpys() -> None:
    """Of cases drawn once each."""
    assert of(mean(VALUES)) == pytest.approx(VALUES.mean())
    assert of(median(VALUES)) == pytest.approx(np.median(VALUES))
    assert of(ratio(VALUES, OTHERS**2)) == pytest.approx(VALUES.sum() / (OTHERS**2).sum())
    assert of(deviation_bound(VALUES, 1.96)) == pytest.approx(VALUES.mean() + 1.96 * VALUES.std(ddof=1))


def test_area_under_the_curve_is_torchmetrics() -> None:
    """With ties."""
    scores = (OTHERS - OTHERS.min()) / np.ptp(OTHERS)
    expected = binary_auroc(torch.from_numpy(scores), torch.from_numpy(POSITIVE.astype(np.int64)))

    assert of(area_under_curve(scores, POSITIVE)) == pytest.approx(expected.item())


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9])
def test_sensitivity_at_a_specificity_is_torchmetrics(specificity: float) -> None:
    """Of scores without ties."""
    scores = (VALUES - VALUES.min()) / np.ptp(VALUES)
    expected, _ = binary_sensitivity_at_specificity(
        torch.from_numpy(scores), torch.from_numpy(POSITIVE.astype(np.int64)), min_specificity=specificity
    )

    assert of(sensitivity_at(specificity, scores, POSITIVE)) == pytest.approx(expected.item())


def test_rank_correlation_is_scipys() -> None:
    """With ties."""
    assert of(rank_correlation(VALUES, OTHERS)) == pytest.approx(spearmanr(VALUES, OTHERS).statistic)


def test_risk_and_coverage_are_those_of_the_definition() -> None:
    """Four cases, sorted by hand."""
    doubt, loss = np.array([3.0, 1.0, 2.0, 4.0]), np.array([0.6, 0.0, 0.2, 1.0])
    once = np.ones((1, 4))

    assert risk_coverage_area(doubt, loss)(once)[0] == pytest.approx((0 + 0.1 + 0.8 / 3 + 1.8 / 4) / 4)
    assert mean_of_surest(0.5, doubt, loss)(once)[0] == pytest.approx(0.1)
    assert mean_of_surest(0.625, doubt, loss)(once)[0] == pytest.approx((0 + 0.2 + 0.5 * 0.6) / 2.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda at: mean(VALUES[at]),
        lambda at: median(VALUES[at]),
        lambda at: deviation_bound(VALUES[at], 1.96),
        lambda at: area_under_curve(OTHERS[at], POSITIVE[at]),
        lambda at: sensitivity_at(0.8, OTHERS[at], POSITIVE[at]),
        lambda at: rank_correlation(VALUES[at], OTHERS[at]),
        lambda at: mean_of_surest(0.8, VALUES[at], OTHERS[at]),
        lambda at: pooled(np.stack([VALUES, OTHERS], axis=1)[at], lambda sums: sums[..., 0] / sums[..., 1]),
    ],
    ids=["mean", "median", "deviation", "auc", "sensitivity", "correlation", "surest", "pooled"],
)
def test_a_weight_of_two_is_a_case_that_is_there_twice(make: object) -> None:
    """What makes resampling right: drawing twice and copying are the same."""
    assert callable(make)
    times = np.arange(41) % 4
    copied = np.repeat(np.arange(41), times)

    expected = make(copied)(np.ones((1, len(copied))))[0]

    assert of(make(np.arange(41)), times.astype(np.float64)) == pytest.approx(expected)


def test_groups_are_drawn_whole_and_as_many_of_each_kind() -> None:
    """Images of one patient come and go together."""
    groups = ["a", "a", "b", "c", "d", "d", "e"]
    kinds = np.array([1, 1, 1, 0, 2, 2, 2])
    weights = draw(groups, kinds, resamples=200)

    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 4], weights[:, 5])
    assert (weights[:, 0] + weights[:, 2] == 2).all()
    assert (weights[:, 3] == 1).all()
    assert weights[:, 0].std() > 0.5


def test_an_interval_of_a_mean_is_that_of_theory() -> None:
    """Of 400 normal values, about ± 1.96 / 20."""
    values = np.random.default_rng(1).normal(size=400)
    groups = [str(number) for number in range(400)]

    value, low, high = interval(mean(values), draw(groups, np.ones(400, dtype=np.int64)))

    assert value == pytest.approx(values.mean())
    assert (low - value, high - value) == pytest.approx((-0.098, 0.098), abs=0.012)


@pytest.mark.requirement("TRAIN-2")
def test_copies_of_an_image_do_not_narrow_an_interval() -> None:
    """Ten images of each patient are not ten patients."""
    values = np.random.default_rng(1).normal(size=100)
    kinds = np.ones(100, dtype=np.int64)
    groups = [str(number) for number in range(100)]

    once = interval(mean(values), draw(groups, kinds))
    copied = interval(mean(np.repeat(values, 10)), draw(np.repeat(groups, 10).tolist(), np.repeat(kinds, 10)))

    assert once == pytest.approx(copied)


def test_what_cannot_be_said_of_a_resample_is_left_out() -> None:
    """A curve needs both kinds; where there is only one, there is none."""
    scores, malignant = np.array([0.1, 0.2]), np.array([True, True])
    value, low, high = interval(area_under_curve(scores, malignant), draw(["a", "b"], np.array([2, 2])))

    assert np.isnan([value, low, high]).all()


def test_wilsons_interval_is_the_textbooks() -> None:
    """None of 4, and 2 of 19."""
    assert wilson(0, 4) == pytest.approx((0, 0.4899), abs=1e-4)
    assert wilson(2, 19) == pytest.approx((0.0294, 0.3139), abs=1e-4)
