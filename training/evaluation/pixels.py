"""Figures of the pixels of all images together, as the thesis counted: a large lesion weighs more than a small one."""

from collections.abc import Callable, Iterator

import numpy as np

from training.evaluation.resampling import Numbers, pooled, share
from training.evaluation.sample import NamedFigure, Said, Sample

CLASS_NAMES = ("background", "benign", "malignant")
_WHERE = "over the pixels of all images, normal ones included"


def pixels(sample: Sample) -> Iterator[NamedFigure]:
    """IoU and Dice of each class and of the lesion, and their means."""
    for word, formula, of_class, of_tumour in (
        ("IoU", "|P∩R| / |P∪R|", class_iou, tumour_iou),
        ("Dice", "2|P∩R| / (|P|+|R|)", class_dice, tumour_dice),
    ):
        short = word.lower()
        yield _figure(
            sample, Said(f"tumour_{short}_pooled", f"Tumour {word}, pooled", f"{formula} {_WHERE}"), of_tumour
        )
        for number, name in enumerate(CLASS_NAMES):
            said = Said(
                f"{name}_{short}_pooled", f"{name.capitalize()} {word}, pooled", f"{formula} of {name} {_WHERE}"
            )
            yield _figure(sample, said, _one(of_class, number))
        three = f"mean of the {word} of background, benign and malignant, each {_WHERE}"
        yield _figure(sample, Said(f"mean_{short}_pooled", f"Mean {word}, pooled", three), _mean(of_class, 0))
        two = f"mean of the {word} of benign and malignant, each {_WHERE}"
        said = Said(f"mean_{short}_pooled_without_background", f"Mean {word} without background, pooled", two)
        yield _figure(sample, said, _mean(of_class, 1))
    said = Said(
        "mean_iou_background_tumour",
        "Mean IoU of background and tumour, pooled",
        f"mean of the IoU of background and of benign and malignant taken together, each {_WHERE}",
    )
    yield _figure(sample, said, lambda counts: (class_iou(counts)[..., 0] + tumour_iou(counts)) / 2)


def class_iou(counts: Numbers) -> Numbers:
    """(…, classes) of (…, classes, classes) counts by reference and prediction; 1 where neither has the class."""
    true = np.diagonal(counts, axis1=-2, axis2=-1)
    return share(true, counts.sum(axis=-1) + counts.sum(axis=-2) - true, 1.0)


def class_dice(counts: Numbers) -> Numbers:
    """As `class_iou`."""
    true = np.diagonal(counts, axis1=-2, axis2=-1)
    return share(2 * true, counts.sum(axis=-1) + counts.sum(axis=-2), 1.0)


def tumour_iou(counts: Numbers) -> Numbers:
    """(…,): of benign and malignant taken together."""
    return class_iou(_merged(counts))[..., 1]


def tumour_dice(counts: Numbers) -> Numbers:
    """As `tumour_iou`."""
    return class_dice(_merged(counts))[..., 1]


def _merged(counts: Numbers) -> Numbers:
    """(…, 2, 2): background and lesion."""
    rows = np.stack([counts[..., 0, :], counts[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def _figure(sample: Sample, said: Said, of_counts: Callable[[Numbers], Numbers]) -> NamedFigure:
    return sample.figure(said, pooled(sample.counts, of_counts))


def _one(of_class: Callable[[Numbers], Numbers], number: int) -> Callable[[Numbers], Numbers]:
    return lambda counts: of_class(counts)[..., number]


def _mean(of_class: Callable[[Numbers], Numbers], first: int) -> Callable[[Numbers], Numbers]:
    return lambda counts: of_class(counts)[..., first:].mean(axis=-1)
