"""Every figure of a set of cases, with what it is and how sure it is. docs/evaluation.md says how to read them.

Lesion means benign and malignant taken together; P is the predicted lesion, R the reference's. A lesion is found if
its IoU is at least 0.1, and else missed.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.datasets.records import CLASS_NUMBERS
from training.evaluation.cases import MISS_IOU, Case
from training.evaluation.confidence import calibration, uncertainty
from training.evaluation.geometry import boundary, size
from training.evaluation.pixels import pixels
from training.evaluation.resampling import (
    Numbers,
    area_under_curve,
    mean,
    median,
    pooled,
    ratio,
    sensitivity_at,
    share,
)
from training.evaluation.sample import Figure, NamedFigure, Said, Sample

ALARM_SHARE = 0.003
"""From this share of the image on, a marked area on a normal image cannot be overlooked."""

SPECIFICITY = 0.9
HEADLINE = (
    "lesion_dice",
    "lesion_dice_median",
    "lesion_iou",
    "tumour_iou_pooled",
    "mean_iou_pooled",
    "missed_lesions",
    "false_alarms",
    "false_alarms_large",
    "type_right_when_found",
    "ece",
)
"""What is said first: the figures of which the project's targets are, and two beside them."""


def figures(cases: Sequence[Case]) -> Mapping[str, Figure]:
    """All figures of a set of cases, by name; those of no images are not numbers."""
    return {name: figure for group in groups(cases).values() for name, figure in group.items()}


def groups(cases: Sequence[Case]) -> Mapping[str, Mapping[str, Figure]]:
    """All figures of a set of cases, by what they tell."""
    sample = Sample(cases)
    return {
        "How well lesions are outlined": dict(outline(sample)),
        "How many lesions are found": dict(finding(sample)),
        "How often healthy breasts are marked": dict(alarms(sample)),
        "Benign or malignant": dict(type_of_lesion(sample)),
        "Pixels of all images together": dict(pixels(sample)),
        "How far outlines are apart": dict(boundary(sample)),
        "How large lesions are": dict(size(sample)),
        "Whether probabilities can be believed": dict(calibration(sample)),
        "Whether doubt shows where it is wrong": dict(uncertainty(sample)),
    }


def in_short(cases: Sequence[Case]) -> Mapping[str, Figure]:
    """Outlining, finding, alarms, types and pooled pixels alone, as of a part of the cases."""
    sample = Sample(cases)
    return dict((*outline(sample), *finding(sample), *alarms(sample), *type_of_lesion(sample), *pixels(sample)))


def outline(sample: Sample) -> Iterator[NamedFigure]:
    """Image by image, over tumour images; a miss is 0."""
    tumour = sample.part(sample.kinds > 0)
    for measure, formula in (("dice", "2|P∩R| / (|P|+|R|)"), ("iou", "|P∩R| / |P∪R|")):
        values, word = tumour.values(measure), {"dice": "Dice", "iou": "IoU"}[measure]
        yield tumour.figure(
            Said(f"lesion_{measure}", f"Lesion {word}", f"mean over tumour images of {formula}, a miss is 0"),
            mean(values),
        )
        yield tumour.figure(
            Said(f"lesion_{measure}_median", f"Lesion {word}, median", f"median over tumour images of {formula}"),
            median(values),
        )
        yield tumour.rate(
            Said(
                f"lesion_{measure}_above_half",
                f"Lesion {word} above 0.5",
                f"share of tumour images with {formula} > 0.5",
            ),
            values > 0.5,
        )
    for name in ("benign", "malignant"):
        of_kind = sample.part(sample.kinds == CLASS_NUMBERS[name])
        yield of_kind.figure(
            Said(f"{name}_lesion_dice", f"Lesion Dice, {name} images", f"lesion_dice of {name} images"),
            mean(of_kind.values("dice")),
        )


def finding(sample: Sample) -> Iterator[NamedFigure]:
    """Images missed, and connected lesions found."""
    tumour = sample.part(sample.kinds > 0)
    yield tumour.rate(
        Said("missed_lesions", "Missed", f"share of tumour images with lesion IoU < {MISS_IOU}"),
        tumour.values("iou") < MISS_IOU,
    )
    lesions = tumour.values("lesions")
    for least in (50, 10):
        yield tumour.figure(
            Said(
                f"sensitivity_iou_{least}",
                f"Lesions found at IoU ≥ 0.{least // 10}",
                f"share of the connected lesions of all references that a predicted one matches, IoU ≥ {least / 100}",
                "share",
            ),
            ratio(tumour.values(f"lesions_found_{least}"), lesions),
        )
    yield sample.figure(
        Said(
            "false_lesions",
            "False lesions, of an image",
            "mean number of connected predicted lesions that match none of the reference with IoU ≥ 0.1",
        ),
        mean(sample.values("false_lesions")),
    )


def alarms(sample: Sample) -> Iterator[NamedFigure]:
    """Of normal images."""
    normal = sample.part(sample.kinds == 0)
    largest = normal.values("largest_share")
    yield normal.rate(
        Said("false_alarms", "False alarms", "share of normal images with any lesion after post-processing"),
        largest > 0,
    )
    yield normal.rate(
        Said(
            "false_alarms_large",
            "False alarms of some size",
            f"share of normal images with a connected lesion of at least {100 * ALARM_SHARE:g} % of the image",
        ),
        largest >= ALARM_SHARE,
    )
    yield normal.figure(
        Said(
            "false_area",
            "Falsely marked area",
            "mean over normal images of the marked area, none counts 0",
            "% of the image",
        ),
        mean(100 * normal.values("predicted_share")),
    )


def type_of_lesion(sample: Sample) -> Iterator[NamedFigure]:
    """Normal, benign or malignant, of the image as a whole."""
    found = sample.part(sample.flags("found"))
    yield found.rate(
        Said(
            "type_right_when_found",
            "Type right, where found",
            f"share of tumour images with lesion IoU ≥ {MISS_IOU} most of whose lesion pixels are of its class",
        ),
        _predicted(found) == found.kinds,
    )
    yield sample.rate(
        Said(
            "image_accuracy",
            "Images named right",
            "share of all images whose answer is theirs of normal (nothing marked), benign and malignant (most pixels)",
        ),
        _predicted(sample) == sample.kinds,
    )
    yield sample.figure(
        Said(
            "image_balanced_accuracy",
            "The same, each kind weighing alike",
            "mean of the shares named right of normal, benign and malignant images, as far as there are any",
            "share",
        ),
        pooled(image_matrices(sample), _balanced_accuracy),
    )
    tumour = sample.part(sample.kinds > 0)
    scores, malignant = np.nan_to_num(tumour.values("malignant_share")), tumour.kinds == CLASS_NUMBERS["malignant"]
    said = "the malignant share of the tumour probability inside the predicted lesion, 0 where nothing is marked"
    yield tumour.figure(
        Said("malignant_auc", "Malignant against benign, AUC", f"area under the ROC curve of {said}; tumour images"),
        area_under_curve(scores, malignant),
    )
    yield tumour.figure(
        Said(
            "malignant_sensitivity",
            f"Malignant found at {100 * SPECIFICITY:g} % specificity",
            f"share of malignant images above what {100 * SPECIFICITY:g} % of benign ones do not exceed, of {said}",
            "share",
        ),
        sensitivity_at(SPECIFICITY, scores, malignant),
    )


def image_matrices(sample: Sample) -> Numbers:
    """(n, 3, 3): a 1 for each image, by its kind (rows) and the answer's (columns): normal, benign, malignant."""
    matrices = np.zeros((len(sample.cases), len(CLASS_NUMBERS), len(CLASS_NUMBERS)))
    matrices[np.arange(len(sample.cases)), sample.kinds, _predicted(sample)] = 1
    return matrices


def _predicted(sample: Sample) -> NDArray[np.int64]:
    return np.array([CLASS_NUMBERS[case.predicted_kind] for case in sample.cases], dtype=np.int64)


def _balanced_accuracy(matrices: Numbers) -> Numbers:
    """(…,): mean recall of (…, 3, 3) matrices, over the kinds that are there."""
    of_kind = matrices.sum(axis=-1)
    recalls = share(np.diagonal(matrices, axis1=-2, axis2=-1), of_kind, 0.0)
    return np.asarray(recalls.sum(axis=-1) / (of_kind > 0).sum(axis=-1))
