"""Figures of an evaluation, each with its interval, from the confusion counts of each image.

Lesion means benign and malignant taken together. Intervals are 95 %: percentile bootstrap over scenes,
stratified by kind, and Wilson's for rates (Wilson, JASA 22, 1927).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_confusion_matrix

from efsnet.maps import LabelMap

RESAMPLES = 5000
MISS_IOU = 0.1
"""A lesion outlined with less than this IoU counts as missed."""

Counts = NDArray[np.int64]
"""(n, classes, classes): pixels of each image, by reference (rows) and prediction (columns)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval and what it is; of no images it is not a number."""

    value: float
    low: float
    high: float
    count: int
    definition: str


def confusion_counts(predictions: Sequence[LabelMap], references: Sequence[LabelMap], classes: int) -> Counts:
    """Confusion counts of each image, its predicted against its reference label map."""
    return np.stack(
        [
            multiclass_confusion_matrix(
                torch.from_numpy(predicted.array.astype(np.int64)),
                torch.from_numpy(reference.array.astype(np.int64)),
                num_classes=classes,
            ).numpy()
            for predicted, reference in zip(predictions, references, strict=True)
        ]
    ).astype(np.int64)


def figures(counts: Counts, kinds: NDArray[np.int64], alarmed: NDArray[np.bool_]) -> Mapping[str, Figure]:
    """All figures of a set of images, one of each scene.

    Args:
        counts: Of each image.
        kinds: (n,) class number of each image as a whole, 0 for normal.
        alarmed: (n,) whether any lesion is left after post-processing.
    """
    tumour = kinds > 0
    lesion = _lesion_counts(counts)
    dice, iou = _dice(lesion), _iou(lesion)

    def resampled(definition: str, statistic: Callable[[NDArray[np.intp]], float], of: NDArray[np.bool_]) -> Figure:
        if not of.any():
            return _of_nothing(definition)
        low, high = _bootstrap(statistic, np.flatnonzero(of), kinds)
        return Figure(statistic(np.flatnonzero(of)), low, high, int(of.sum()), definition)

    everything = np.ones_like(tumour)
    answer = {
        "lesion_dice": resampled(
            "mean over tumour images of 2|P∩R| / (|P|+|R|), a miss is 0", lambda i: float(dice[i].mean()), tumour
        ),
        "lesion_dice_median": resampled("median of the same", lambda i: float(np.median(dice[i])), tumour),
        "lesion_iou": resampled("mean over tumour images of |P∩R| / |P∪R|", lambda i: float(iou[i].mean()), tumour),
        "tumour_iou_pooled": resampled(
            "|P∩R| / |P∪R| over the pixels of all images, normal ones included",
            lambda i: float(_iou(lesion[i].sum(axis=0))),
            everything,
        ),
        "mean_iou_pooled": resampled(
            "mean of the IoU of background, benign and malignant, each over the pixels of all images",
            lambda i: float(np.mean(_class_ious(counts[i].sum(axis=0)))),
            everything,
        ),
        "missed_lesions": _rate(f"share of tumour images with lesion IoU < {MISS_IOU}", iou[tumour] < MISS_IOU),
        "false_alarms": _rate("share of normal images with any lesion after post-processing", alarmed[~tumour]),
        "type_right_when_found": _rate(
            f"share of tumour images with lesion IoU >= {MISS_IOU} most of whose lesion pixels are of its class",
            _majority_type(counts)[tumour & (iou >= MISS_IOU)] == kinds[tumour & (iou >= MISS_IOU)],
        ),
    }
    for number, name in ((1, "benign"), (2, "malignant")):
        answer[f"{name}_iou_pooled"] = resampled(
            f"|P∩R| / |P∪R| of {name} over the pixels of all images",
            lambda i, number=number: float(_class_ious(counts[i].sum(axis=0))[number]),  # type: ignore[misc]
            everything,
        )
        answer[f"{name}_lesion_dice"] = resampled(
            f"lesion_dice of {name} images", lambda i: float(dice[i].mean()), kinds == number
        )
    return answer


def has_lesion(label_map: LabelMap) -> bool:
    """Whether any pixel is of a lesion."""
    return bool(label_map.array.any())


def _lesion_counts(counts: Counts) -> NDArray[np.float64]:
    """(…, 3): true positive, false positive and false negative pixels of lesion against background."""
    true = counts[..., 1:, 1:].sum(axis=(-2, -1))
    false_positive = counts[..., 0, 1:].sum(axis=-1)
    false_negative = counts[..., 1:, 0].sum(axis=-1)
    return np.stack([true, false_positive, false_negative], axis=-1).astype(np.float64)


def _dice(lesion: NDArray[np.float64]) -> NDArray[np.float64]:
    true, false_positive, false_negative = np.moveaxis(lesion, -1, 0)
    return _ratio(2 * true, 2 * true + false_positive + false_negative)


def _iou(lesion: NDArray[np.float64]) -> NDArray[np.float64]:
    true, false_positive, false_negative = np.moveaxis(lesion, -1, 0)
    return _ratio(true, true + false_positive + false_negative)


def _class_ious(counts: Counts) -> NDArray[np.float64]:
    true = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    return _ratio(true, counts.sum(axis=-1) + counts.sum(axis=-2) - true)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part by whole, 1 where both are empty: nothing to find and nothing found."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)


def _majority_type(counts: Counts) -> NDArray[np.intp]:
    return np.asarray(counts[:, :, 1:].sum(axis=1).argmax(axis=1) + 1)


def _rate(definition: str, happened: NDArray[np.bool_]) -> Figure:
    if not len(happened):
        return _of_nothing(definition)
    interval = binomtest(int(happened.sum()), len(happened)).proportion_ci(method="wilson")
    return Figure(float(happened.mean()), float(interval.low), float(interval.high), len(happened), definition)


def _of_nothing(definition: str) -> Figure:
    return Figure(float("nan"), 0.0, 1.0, 0, definition)


def _bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], indices: NDArray[np.intp], kinds: NDArray[np.int64]
) -> tuple[float, float]:
    random = np.random.default_rng(0)
    strata = [indices[kinds[indices] == kind] for kind in np.unique(kinds[indices])]
    values = [
        statistic(np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
