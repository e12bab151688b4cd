"""What the validation part of a run chooses, and nothing else does: temperature, threshold and minimum area."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize_scalar

from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.postprocessing import EIGHT, to_label_map
from efsnet.specification import PostProcessing
from training.errors import RunUnusable
from training.run_folder import RunFolder

THRESHOLDS = tuple(round(0.20 + 0.05 * step, 2) for step in range(11))
MINIMUM_AREAS = (0.0, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01)
"""Candidates, as shares of the image."""

TEMPERATURES = (0.5, 5.0)
"""Bounds of the search."""

PIXEL_STRIDE = 4
"""Every so many rows and columns take part in fitting the temperature: neighbours say nothing new."""

Sample = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Pixels of an image: logarithms of their probabilities (classes, n), and their class numbers in the reference (n,)."""


Rule = Literal["area", "holes", "vote"]
"""Of the post-processing: the minimum area, the filling of holes, one class for each lesion."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What the validation part chose."""

    temperature: float
    tumour_threshold: float
    minimum_area_fraction: float

    def rules(self, without: Collection[Rule] = ()) -> PostProcessing:
        """The post-processing with these choices; to see what a rule is worth, it can be left out."""
        return PostProcessing(
            tumour_threshold=self.tumour_threshold,
            minimum_area_fraction=0.0 if "area" in without else self.minimum_area_fraction,
            fill_holes="holes" not in without,
            one_class_per_lesion="vote" not in without,
        )

    def as_json(self) -> str:
        """Stable text."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_operating_point(folder: RunFolder) -> OperatingPoint:
    """What the validation part of a run chose.

    Raises:
        RunUnusable: the run is not evaluated.
    """
    try:
        return OperatingPoint(**json.loads(folder.operating_point_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunUnusable(f"{folder.path} is not evaluated: run `evaluate` first ({error}).") from error


def median_operating_point(folders: Sequence[RunFolder]) -> OperatingPoint:
    """Of a cross-validation's runs, value by value: what a run by the same recipe is set to that holds nothing out.

    Raises:
        RunUnusable: a run is not evaluated.
    """
    points = [read_operating_point(folder) for folder in folders]
    return OperatingPoint(
        temperature=median(point.temperature for point in points),
        tumour_threshold=median(point.tumour_threshold for point in points),
        minimum_area_fraction=median(point.minimum_area_fraction for point in points),
    )


def tempered(probability_map: ProbabilityMap, temperature: float) -> ProbabilityMap:
    """The same map as if its logits had been divided by the temperature."""
    if temperature == 1:
        return probability_map
    powers = np.maximum(probability_map.array, np.float32(1e-30)) ** np.float32(1 / temperature)
    return ProbabilityMap((powers / powers.sum(axis=0)).astype(np.float32))


def choose(predictions: Iterable[tuple[ProbabilityMap, LabelMap]]) -> OperatingPoint:
    """Temperature by likelihood, then threshold and minimum area by mean Dice.

    A normal image without a lesion counts as 1, with one as 0. Each image is predicted once and held at half
    precision, 1.5 MB at 512 x 512.

    Args:
        predictions: Of an uncalibrated network (temperature 1), each beside its reference on the same grid.
    """
    held, samples = [], []
    for probability_map, reference in predictions:
        held.append((probability_map.array.astype(np.float16), reference.array > 0))
        samples.append(sampled(probability_map, reference))
    temperature = fit_temperature(samples)
    dice = np.zeros((len(THRESHOLDS), len(MINIMUM_AREAS)))
    for probabilities, lesion in held:
        probability_map = tempered(ProbabilityMap(probabilities.astype(np.float32)), temperature)
        dice += [_dice_by_minimum_area(probability_map, lesion, threshold) for threshold in THRESHOLDS]
    best = int(dice.argmax())  # of equally good candidates the first
    return OperatingPoint(temperature, *list(product(THRESHOLDS, MINIMUM_AREAS))[best])


def sampled(probability_map: ProbabilityMap, reference: LabelMap) -> Sample:
    """The pixels of an image that take part in fitting the temperature."""
    probabilities = probability_map.array[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    logs = np.log(np.maximum(probabilities.reshape(len(probabilities), -1), np.float32(1e-30)))
    return logs, reference.array[::PIXEL_STRIDE, ::PIXEL_STRIDE].ravel()


def fit_temperature(samples: Sequence[Sample]) -> float:
    """The temperature of highest likelihood (Guo et al., 2017), within `TEMPERATURES`."""
    scores = np.concatenate([logs for logs, _ in samples], axis=1).astype(np.float64)
    truth = np.concatenate([numbers for _, numbers in samples])

    def negative_log_likelihood(temperature: float) -> float:
        scaled = scores / temperature
        normaliser = np.logaddexp.reduce(scaled, axis=0)
        return float((normaliser - scaled[truth, np.arange(truth.size)]).mean())

    return round(float(minimize_scalar(negative_log_likelihood, bounds=TEMPERATURES, method="bounded").x), 3)


def _dice_by_minimum_area(
    probability_map: ProbabilityMap, lesion: NDArray[np.bool_], threshold: float
) -> NDArray[np.float64]:
    """Dice of one image for each of `MINIMUM_AREAS`: dropping lesions needs their areas, no new label map."""
    found = to_label_map(probability_map, OperatingPoint(1.0, threshold, 0.0).rules()).array > 0
    numbered, count = ndimage.label(found, EIGHT)
    areas = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    hits = np.bincount(numbered[lesion], minlength=count + 1)[1:]
    kept = areas >= np.array(MINIMUM_AREAS)[:, np.newaxis] * lesion.size
    total = kept @ areas + lesion.sum()
    return np.asarray(np.divide(2.0 * (kept @ hits), total, out=np.ones(len(MINIMUM_AREAS)), where=total > 0))
