"""One image, from its file to all that is measured of it. No probability map outlives its image."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_distance import compute_average_surface_distance
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from torchmetrics.functional.classification import multiclass_confusion_matrix

from efsnet.batching import Predicting
from efsnet.image import Image
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.measurement import measure
from efsnet.postprocessing import EIGHT, to_grid, to_label_map
from efsnet.rendering import palette_png
from efsnet.specification import PostProcessing
from training.datasets.records import Record
from training.evaluation.cases import BINS, Calibration, Case, EvaluationFolder
from training.evaluation.operating_point import tempered
from training.specification import CLASSES

BAND_PX = 10
"""Pixels this near to the outline of the reference lesion, inside and outside, are the band."""

BOUNDARY_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class Subject:
    """A network at its operating point.

    Args:
        predictor: Of the exported graph.
        rules: From its probabilities to a label map.
        before: What the graph's logits are divided by to have them at temperature 1.
        after: The same for the temperature of the operating point; 1 where the graph does it.
        fold: The one that the network never saw, where it is of a cross-validation.
        seed: Of its training.
    """

    predictor: Predicting
    rules: PostProcessing
    before: float
    after: float
    fold: int | None = None
    seed: int | None = None

    def probability_map(self, image: Image) -> ProbabilityMap:
        """What is answered for an image, before the rules."""
        return tempered(self.predictor.predict(image), self.after)


@dataclass(frozen=True, slots=True)
class Matched:
    """Connected lesions of a reference and a prediction; pixels that touch by a corner are joined."""

    lesions: int
    """Of the reference."""
    found_50: int
    """Of those, matched at IoU >= 0.5."""
    found_10: int
    """Of those, matched at IoU >= 0.1."""
    false: int
    """Predicted ones that match none at IoU >= 0.1."""
    largest_px: int
    """Pixels of the largest predicted one."""


def predictions(predictor: Predicting, records: Iterable[Record]) -> Iterator[tuple[ProbabilityMap, LabelMap]]:
    """Of each record, one at a time, with its reference on the network's grid."""
    for record in records:
        probability_map = predictor.predict(record.read_image())
        yield probability_map, on_grid_of(probability_map, record.read_reference())


def measure_all(subject: Subject, records: Iterable[Record], folder: EvaluationFolder) -> tuple[Case, ...]:
    """Measures every record, one at a time, and writes all of it."""
    cases = []
    for record in records:
        case, label_map = measure_case(subject, record)
        cases.append(case)
        file = folder.label_map_file(case.key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(palette_png(label_map, CLASSES))
    folder.write(cases)
    return tuple(cases)


def measure_case(subject: Subject, record: Record) -> tuple[Case, LabelMap]:
    """All that is measured of one record, and its predicted label map on the network's grid."""
    image, own_reference = record.read_image(), record.read_reference() > 0
    raw = subject.predictor.predict(image)
    before, after = tempered(raw, subject.before), tempered(raw, subject.after)
    predicted, reference = to_label_map(after, subject.rules), on_grid_of(raw, record.read_reference())
    found, lesion = predicted.array > 0, reference.array > 0
    own_found = to_grid(predicted, image.rows, image.columns).array > 0
    components = match(found, lesion)
    hd95, assd = boundary_distances(own_found, own_reference)
    predicted_axis, reference_axis = (_longest_axis(mask, image, after) for mask in (own_found, own_reference))
    case = Case(
        dataset=record.dataset,
        name=record.name,
        scene=record.scene,
        group=record.group,
        kind=record.kind,
        device=record.device,
        remarks=record.remarks,
        fold=subject.fold,
        seed=subject.seed,
        rows=image.rows,
        columns=image.columns,
        row_mm=image.spacing.row_mm if image.spacing else None,
        column_mm=image.spacing.column_mm if image.spacing else None,
        counts=confusion_counts(predicted, reference),
        lesions=components.lesions,
        lesions_found_50=components.found_50,
        lesions_found_10=components.found_10,
        false_lesions=components.false,
        largest_share=components.largest_px / found.size,
        hd95_px=hd95,
        assd_px=assd,
        predicted_axis_px=predicted_axis[0],
        predicted_axis_mm=predicted_axis[1],
        reference_axis_px=reference_axis[0],
        reference_axis_mm=reference_axis[1],
        malignant_share=_malignant_share(after, found),
        expected_error=1 - _soft_dice(found, after.tumour),
        mirror_difference=_mirror_difference(subject, image, after.tumour),
        before=calibrations(before, reference),
        after=calibrations(after, reference),
    )
    return case, predicted


def confusion_counts(predicted: LabelMap, reference: LabelMap) -> tuple[int, ...]:
    """Pixels by reference and prediction, row by row of the confusion matrix."""
    matrix = multiclass_confusion_matrix(
        torch.from_numpy(predicted.array.astype(np.int64)),
        torch.from_numpy(reference.array.astype(np.int64)),
        num_classes=len(CLASSES),
    )
    return tuple(int(count) for count in matrix.ravel())


def calibrations(probability_map: ProbabilityMap, reference: LabelMap) -> tuple[Calibration, Calibration]:
    """Over all pixels, and over those within `BAND_PX` of the outline of the reference lesion."""
    probabilities = probability_map.array
    confidence = probabilities.max(axis=0)
    right = probabilities.argmax(axis=0) == reference.array
    of_reference = np.take_along_axis(probabilities, reference.array[np.newaxis].astype(np.intp), axis=0)[0]
    brier = np.square(probabilities).sum(axis=0) - 2 * of_reference + 1
    everywhere, band = (
        _calibration(confidence, right, brier, where) for where in (np.ones_like(right), _band(reference.array > 0))
    )
    return everywhere, band


def boundary_distances(found: NDArray[np.bool_], lesion: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """95th percentile Hausdorff and average symmetric surface distance in pixels; None if a mask is empty."""
    if not (found.any() and lesion.any()):
        return None, None
    ours, theirs = (torch.from_numpy(mask)[None, None] for mask in (found, lesion))
    with warnings.catch_warnings():
        # MONAI 1.6 calls a helper of its own with an argument that it has deprecated.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        hd95 = compute_hausdorff_distance(ours, theirs, include_background=True, percentile=BOUNDARY_PERCENTILE)
        assd = compute_average_surface_distance(ours, theirs, include_background=True, symmetric=True)
    return hd95.item(), assd.item()


def match(found: NDArray[np.bool_], lesion: NDArray[np.bool_]) -> Matched:
    """Which lesions of the reference are found: each by one predicted lesion at most, as many as can be."""
    numbered_found, found_count = ndimage.label(found, EIGHT)
    numbered_lesion, lesion_count = ndimage.label(lesion, EIGHT)
    pairs = np.bincount(
        (numbered_lesion.astype(np.int64) * (found_count + 1) + numbered_found).ravel(),
        minlength=(lesion_count + 1) * (found_count + 1),
    ).reshape(lesion_count + 1, found_count + 1)
    both, areas = pairs[1:, 1:], pairs[:, 1:].sum(axis=0)
    iou = both / (pairs[1:].sum(axis=1)[:, np.newaxis] + areas - both)
    found_50, found_10 = (_most_pairs(iou >= least) for least in (0.5, 0.1))
    return Matched(lesion_count, found_50, found_10, found_count - found_10, int(areas.max(initial=0)))


def on_grid_of(probability_map: ProbabilityMap, reference: NDArray[np.uint8]) -> LabelMap:
    return to_grid(LabelMap(reference), *probability_map.array.shape[1:])


def _most_pairs(possible: NDArray[np.bool_]) -> int:
    rows, columns = linear_sum_assignment(possible, maximize=True)
    return int(possible[rows, columns].sum())


def _band(lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not lesion.any() or lesion.all():
        return np.zeros_like(lesion)
    inside, outside = (ndimage.distance_transform_edt(mask) for mask in (lesion, ~lesion))
    return np.asarray(np.maximum(inside, outside) <= BAND_PX)


def _calibration(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], brier: NDArray[np.float32], where: NDArray[np.bool_]
) -> Calibration:
    confidence, right = confidence[where], right[where]
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    sums = (np.bincount(bins, weights, BINS).tolist() for weights in (None, confidence, right))
    return Calibration(tuple(zip(*sums, strict=True)), float(brier[where].sum(dtype=np.float64)))


def _malignant_share(probability_map: ProbabilityMap, found: NDArray[np.bool_]) -> float | None:
    benign, malignant = probability_map.array[1:, found].sum(axis=1, dtype=np.float64)
    return float(malignant / (benign + malignant)) if found.any() else None


def _soft_dice(found: NDArray[np.bool_], tumour: NDArray[np.float32]) -> float:
    total = float(tumour.sum(dtype=np.float64)) + int(found.sum())
    return 2 * float(tumour[found].sum(dtype=np.float64)) / total if total else 1.0


def _mirror_difference(subject: Subject, image: Image, tumour: NDArray[np.float32]) -> float:
    mirrored = replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))
    other = subject.probability_map(mirrored).tumour[:, ::-1]
    total = float(tumour.sum(dtype=np.float64) + other.sum(dtype=np.float64))
    return 1 - 2 * float(np.minimum(tumour, other).sum(dtype=np.float64)) / total if total else 0.0


def _longest_axis(mask: NDArray[np.bool_], image: Image, probability_map: ProbabilityMap) -> tuple[float, float | None]:
    """Of the largest lesion in pixels and millimetres, by the product's own measurement."""
    merged = LabelMap(mask.astype(np.uint8))
    largest = measure(merged, probability_map=probability_map, classes=CLASSES[:2], spacing=image.spacing).lesions[:1]
    if not largest:
        return 0.0, 0.0 if image.spacing else None
    axes_mm = largest[0].axes_mm
    return largest[0].axes_px.longest, axes_mm.longest if axes_mm else None
