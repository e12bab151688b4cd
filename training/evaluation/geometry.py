"""Figures of distances, areas and axes, on each image's own grid."""

from collections.abc import Iterator

import numpy as np

from training.evaluation.resampling import Numbers, deviation_bound, mean
from training.evaluation.sample import NamedFigure, Said, Sample, Unit

AGREEMENT_DEVIATIONS = 1.96

_DISTANCES = {
    "hd95": ("HD95", "the larger of the two 95th percentiles of the distances from one outline to the other"),
    "assd": ("ASSD", "the mean distance of the points of each outline from the other outline"),
}


def boundary(sample: Sample) -> Iterator[NamedFigure]:
    """Hausdorff and surface distances of found lesions, and of all with the diagonal for what is missed."""
    tumour = sample.part(sample.kinds > 0)
    # a lesion of a few pixels may be found on the network's grid and have none on a smaller image's own
    measured = tumour.flags("found") & ~np.isnan(tumour.values("hd95_px"))
    found = tumour.part(measured)
    for name, (label, definition) in _DISTANCES.items():
        over = f"mean, over tumour images whose lesion is found, of {definition}"
        yield found.figure(Said(f"{name}_px", label, over, "px"), mean(found.values(f"{name}_px")))
        yield found.figure(
            Said(f"{name}_diagonal", label, f"{over}, as % of the image's diagonal", "% of the diagonal"),
            mean(_of_diagonal(found, name)),
        )
        penalised = np.where(measured, _of_diagonal(tumour, name), 100.0)
        yield tumour.figure(
            Said(
                f"{name}_diagonal_with_misses",
                f"{label}, a miss counting the diagonal",
                "the same over all tumour images, 100 % of the diagonal for a missed lesion",
                "% of the diagonal",
            ),
            mean(penalised),
        )


def size(sample: Sample) -> Iterator[NamedFigure]:
    """Areas and longest axes of found lesions against the reference's (Bland and Altman, 1986)."""
    found = sample.part(sample.flags("found"))
    areas = 100 * (found.values("predicted_share") - found.values("reference_share"))
    yield from _agreement(found, "area", "area of all lesions of a found tumour image", areas, "% of the image")
    axis = "longest axis of the largest lesion of a found tumour image"
    yield from _agreement(found, "axis_px", axis, _axis_difference(found, "px"), "px")
    spaced = found.part(~np.isnan(found.values("row_mm")))
    yield from _agreement(spaced, "axis_mm", axis, _axis_difference(spaced, "mm"), "mm")


def _agreement(sample: Sample, name: str, what: str, differences: Numbers, unit: Unit) -> Iterator[NamedFigure]:
    label = "Area" if name == "area" else "Longest axis"
    yield sample.figure(
        Said(
            f"{name}_error",
            f"{label}, error",
            f"mean absolute difference, predicted from reference, of the {what}",
            unit,
        ),
        mean(np.abs(differences)),
    )
    yield sample.figure(
        Said(f"{name}_bias", f"{label}, bias", f"mean of predicted minus reference {what}", unit), mean(differences)
    )
    for word, deviations in (("low", -AGREEMENT_DEVIATIONS), ("high", AGREEMENT_DEVIATIONS)):
        sign = "minus" if deviations < 0 else "plus"
        yield sample.figure(
            Said(
                f"{name}_limit_{word}",
                f"{label}, {'lower' if deviations < 0 else 'upper'} limit",
                f"limit of agreement: the bias {sign} {AGREEMENT_DEVIATIONS} standard deviations of the differences",
                unit,
            ),
            deviation_bound(differences, deviations),
        )


def _of_diagonal(sample: Sample, name: str) -> Numbers:
    return 100 * sample.values(f"{name}_px") / np.hypot(sample.values("rows"), sample.values("columns"))


def _axis_difference(sample: Sample, unit: str) -> Numbers:
    return sample.values(f"predicted_axis_{unit}") - sample.values(f"reference_axis_{unit}")
