"""How good a network is, through the very path that serves: the exported graph, the product's predictor and rules.

The validation part chooses temperature, threshold and minimum area; the test part chooses nothing.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.optimize import minimize_scalar

from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import to_label_map
from efsnet.predictor import Predictor
from efsnet.specification import PostProcessing, Specification
from training.datasets.folds import Split, folds_of
from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import RunUnusable
from training.export.onnx_export import export
from training.metrics import Figure, confusion_counts, figures, has_lesion
from training.run import RunFolder
from training.specification import specification

THRESHOLDS = tuple(round(0.20 + 0.05 * step, 2) for step in range(11))
MINIMUM_AREAS = (0.0, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01)
"""Candidates, as shares of the image."""

TEMPERATURES = (0.5, 5.0)
"""Bounds of the search."""

PIXEL_STRIDE = 4
"""Every so many rows and columns take part in fitting the temperature: neighbours say nothing new."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What the validation part chose."""

    temperature: float
    tumour_threshold: float
    minimum_area_fraction: float

    def rules(self) -> PostProcessing:
        """The post-processing with these choices."""
        return PostProcessing(
            tumour_threshold=self.tumour_threshold,
            minimum_area_fraction=self.minimum_area_fraction,
            fill_holes=True,
            one_class_per_lesion=True,
        )

    def as_json(self) -> str:
        """Stable text."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Probability maps of records beside their references on the same grid."""

    records: tuple[Record, ...]
    probability_maps: tuple[ProbabilityMap, ...]
    references: tuple[LabelMap, ...]

    @property
    def kinds(self) -> NDArray[np.int64]:
        """(n,) class number of each image as a whole."""
        return np.array([CLASS_NUMBERS[record.kind] for record in self.records], dtype=np.int64)


def evaluate_run(folder: RunFolder, split: Split) -> Mapping[str, Figure]:
    """Chooses an operating point on the validation part, measures the test part, and writes both into the run.

    Raises:
        RunUnusable: the run is not finished.
    """
    side = folder.configuration().input_size
    uncalibrated = specification(side, OperatingPoint(1.0, 0.5, 0.0).rules())
    predictor = Predictor(export(folder.network(), uncalibrated), uncalibrated, threads=os.cpu_count() or 1)
    point = choose(predict(predictor, uncalibrated, split.validation))
    test = predict(predictor, uncalibrated, split.test)
    measured = evaluate(calibrated(test, point.temperature), point.rules())
    folder.operating_point_file.write_text(point.as_json(), encoding="utf-8")
    answer = {
        "part": "test",
        "folds": folds_of(split.test),
        "grid": [side, side],
        "images": len(split.test),
        "figures": {name: asdict(figure) for name, figure in measured.items() if figure.count},
    }
    folder.metrics_file.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    return measured


def read_operating_point(folder: RunFolder) -> OperatingPoint:
    """What the validation part of a run chose.

    Raises:
        RunUnusable: the run is not evaluated.
    """
    try:
        return OperatingPoint(**json.loads(folder.operating_point_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunUnusable(f"{folder.path} is not evaluated: run `evaluate` first ({error}).") from error


def predict(predictor: Predictor, specified: Specification, records: Iterable[Record]) -> Predicted:
    """Probability maps of records, with references resized to the network's grid, nearest pixel."""
    records = tuple(records)
    size = (specified.input.columns, specified.input.rows)
    references = [
        np.asarray(PillowImage.fromarray(record.read_reference()).resize(size, PillowImage.Resampling.NEAREST))
        for record in records
    ]
    return Predicted(
        records,
        tuple(predictor.predict(record.read_image()) for record in records),
        tuple(LabelMap(reference) for reference in references),
    )


def choose(validation: Predicted) -> OperatingPoint:
    """Temperature by likelihood, then threshold and minimum area by mean Dice.

    A normal image without a lesion counts as 1, with one as 0.

    Args:
        validation: Predictions of an uncalibrated network (temperature 1).
    """
    temperature = fit_temperature(validation)
    maps = calibrated(validation, temperature).probability_maps
    candidates = [
        OperatingPoint(temperature, threshold, area) for threshold, area in product(THRESHOLDS, MINIMUM_AREAS)
    ]
    return max(candidates, key=lambda candidate: _mean_dice(maps, validation.references, candidate.rules()))


def fit_temperature(validation: Predicted) -> float:
    """The temperature of highest likelihood (Guo et al., 2017), within `TEMPERATURES`."""
    logs, labels = [], []
    for probability_map, reference in zip(validation.probability_maps, validation.references, strict=True):
        sampled = probability_map.array[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
        logs.append(np.log(np.maximum(sampled.reshape(len(sampled), -1), 1e-30)))
        labels.append(reference.array[::PIXEL_STRIDE, ::PIXEL_STRIDE].ravel())
    scores, truth = np.concatenate(logs, axis=1).astype(np.float64), np.concatenate(labels)

    def negative_log_likelihood(temperature: float) -> float:
        scaled = scores / temperature
        normaliser = np.logaddexp.reduce(scaled, axis=0)
        return float((normaliser - scaled[truth, np.arange(truth.size)]).mean())

    return round(float(minimize_scalar(negative_log_likelihood, bounds=TEMPERATURES, method="bounded").x), 3)


def calibrated(predicted: Predicted, temperature: float) -> Predicted:
    """The same predictions at another temperature."""
    return replace(predicted, probability_maps=tuple(tempered(p, temperature) for p in predicted.probability_maps))


def tempered(probability_map: ProbabilityMap, temperature: float) -> ProbabilityMap:
    """The same map as if its logits had been divided by the temperature."""
    powers = np.maximum(probability_map.array, np.float32(1e-30)) ** np.float32(1 / temperature)
    return ProbabilityMap((powers / powers.sum(axis=0)).astype(np.float32))


def evaluate(test: Predicted, rules: PostProcessing) -> dict[str, Figure]:
    """All figures of predictions by the rules, on the network's grid, one image a scene."""
    predictions = [to_label_map(probability_map, rules) for probability_map in test.probability_maps]
    alarmed = np.array([has_lesion(prediction) for prediction in predictions])
    return dict(figures(confusion_counts(predictions, test.references, len(CLASS_NUMBERS)), test.kinds, alarmed))


def _mean_dice(
    probability_maps: Sequence[ProbabilityMap], references: Sequence[LabelMap], rules: PostProcessing
) -> float:
    total = 0.0
    for probability_map, reference in zip(probability_maps, references, strict=True):
        found, lesion = to_label_map(probability_map, rules).array > 0, reference.array > 0
        area = int(found.sum()) + int(lesion.sum())
        total += 2 * int((found & lesion).sum()) / area if area else 1.0
    return total / len(references)
