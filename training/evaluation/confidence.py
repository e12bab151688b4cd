"""Figures of calibration, whether probabilities can be believed, and of uncertainty, whether doubt tells of errors."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from training.datasets.records import CLASS_NUMBERS
from training.evaluation.cases import BINS
from training.evaluation.resampling import (
    Numbers,
    mean_of_surest,
    pooled,
    rank_correlation,
    ratio,
    risk_coverage_area,
    share,
)
from training.evaluation.sample import NamedFigure, Said, Sample

When = Literal["before", "after"]

COVERAGE = 0.8

TYPE_BINS = 5
"""Of the malignant share of images: a fold has a hundred of them, too few for more."""

UNCERTAINTIES = {
    "expected_error": (
        "Expected error",
        "1 - Dice of the marked lesion as the probabilities lead to expect it; costs nothing",
    ),
    "mirror_difference": (
        "Mirror image",
        "1 - Dice of the tumour probabilities of the image and of its mirror image; costs a second prediction",
    ),
}

_ENDINGS: dict[When, str] = {"before": "_before", "after": ""}
_REGIONS = {"": "all pixels", "_band": "pixels within 10 of the outline of the reference lesion"}


def calibration(sample: Sample) -> Iterator[NamedFigure]:
    """Expected calibration error and Brier score, before and after temperature, of all pixels and of the band."""
    for region, (suffix, where) in enumerate(_REGIONS.items()):
        for name, label, definition, statistic in (
            (
                "ece",
                "Calibration error",
                f"mean over {{}} of |confidence - share right| of {BINS} bins by the most probable class",
                _calibration_error,
            ),
            (
                "brier",
                "Brier score",
                "mean over {} of the squared distance of the three probabilities from the reference's class (0 to 2)",
                _brier,
            ),
        ):
            for when, ending in _ENDINGS.items():
                said = Said(
                    f"{name}{suffix}{ending}",
                    f"{label}, {'outline' if suffix else 'all pixels'}, {when} temperature",
                    f"{definition.format(where)}; {when} temperature",
                )
                yield sample.figure(said, statistic(sample, when, region))
    found = _with_type(sample)
    yield found.figure(
        Said(
            "ece_type",
            "Calibration error, type of the image",
            f"mean over found tumour images of |malignant share - share that is malignant| of {TYPE_BINS} bins",
        ),
        pooled(type_histograms(sample), calibration_error),
    )


def uncertainty(sample: Sample) -> Iterator[NamedFigure]:
    """How well each measure of uncertainty ranks the tumour images by 1 - Dice."""
    tumour = sample.part(sample.kinds > 0)
    dice = tumour.values("dice")
    for name, (label, definition) in UNCERTAINTIES.items():
        doubt = tumour.values(name)
        yield tumour.figure(
            Said(
                f"{name}_correlation",
                f"{label}, correlation",
                f"Spearman's correlation with 1 - Dice, over tumour images, of: {definition}",
            ),
            rank_correlation(doubt, 1 - dice),
        )
        yield tumour.figure(
            Said(
                f"{name}_risk_coverage",
                f"{label}, risk-coverage area",
                "area under the mean of 1 - Dice of the surest tumour images, over the share of them that is kept",
            ),
            risk_coverage_area(doubt, 1 - dice),
        )
        yield tumour.figure(
            Said(
                f"{name}_dice_of_surest",
                f"{label}, Dice of the surest {100 * COVERAGE:g} %",
                f"mean lesion Dice of the surest {100 * COVERAGE:g} % of the tumour images",
            ),
            mean_of_surest(COVERAGE, doubt, dice),
        )


def histograms(sample: Sample, when: When, region: int) -> Numbers:
    """(n, bins, 3): pixels, sum of confidences and number right, of each case, at 1 or at the chosen temperature."""
    return np.array([getattr(case, when)[region].histogram for case in sample.cases]).reshape(-1, BINS, 3)


def type_histograms(sample: Sample) -> Numbers:
    """(n, bins, 3): 1, malignant share and whether it is malignant, of each found tumour image, in the bin it is of.

    The malignant share, of the tumour probability inside the predicted lesions, is what an image as a whole is said to
    be; bins are of equal width from 0 to 1.
    """
    found = _with_type(sample)
    said = found.values("malignant_share")
    histograms = np.zeros((len(said), TYPE_BINS, 3))
    bins = np.minimum((said * TYPE_BINS).astype(np.int64), TYPE_BINS - 1)
    malignant = found.kinds == CLASS_NUMBERS["malignant"]
    histograms[np.arange(len(said)), bins] = np.stack([np.ones(len(said)), said, malignant], axis=1)
    return histograms


def calibration_error(histogram: Numbers) -> Numbers:
    """(…,): expected calibration error of (…, bins, 3) histograms (Guo et al., 2017)."""
    gaps = np.abs(histogram[..., 1] - histogram[..., 2]).sum(axis=-1)
    return share(gaps, histogram[..., 0].sum(axis=-1), np.nan)


def _with_type(sample: Sample) -> Sample:
    return sample.part(sample.flags("found") & ~np.isnan(sample.values("malignant_share")))


def _calibration_error(sample: Sample, when: When, region: int) -> Callable[[Numbers], Numbers]:
    return pooled(histograms(sample, when, region), calibration_error)


def _brier(sample: Sample, when: When, region: int) -> Callable[[Numbers], Numbers]:
    sums = np.array([getattr(case, when)[region].brier for case in sample.cases])
    return ratio(sums, histograms(sample, when, region)[..., 0].sum(axis=-1))
