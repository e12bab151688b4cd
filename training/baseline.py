"""How images and answers lie where a run was measured: what drift is told by once it is served."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from efsnet.measurement import measure
from efsnet.postprocessing import to_label_map
from efsnet.predictor import Predictor
from efsnet.preprocessing import to_input
from model_store.baseline import BRIGHTNESS_EDGES, CONFIDENCE_EDGES, SHARE_EDGES, Baseline, Distribution
from training.cross_validation import finished
from training.datasets.records import Record
from training.errors import RunUnusable
from training.evaluation.operating_point import read_operating_point
from training.evaluation.unseen import split_of
from training.export.onnx_export import export
from training.run_folder import RunFolder
from training.specification import specification


def measure_baseline(folder: RunFolder, records: Sequence[Record], figures_of: Path | None = None) -> Baseline:
    """Of the images that a run held out, which is written into the run, where `publish` finds it.

    Args:
        folder: Of the run.
        records: Of the sets that it was split over.
        figures_of: A cross-validation by the same recipe, for a run that holds nothing out: its runs are measured
            instead, each on what it held out, since on what a network learnt from its answers lie elsewhere.

    Raises:
        RunUnusable: a run is not finished or not evaluated.
        SplitDiffers: images of the split are not in the sets.
    """
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in finished(figures_of) if figures_of else (folder,):
        _measure(run, records, values)
    images = len(values["brightness", ""])
    baseline = Baseline(
        images=images,
        brightness=_distribution(values["brightness", ""], BRIGHTNESS_EDGES),
        class_fraction=_by_class(values, "class_fraction", SHARE_EDGES),
        mask_confidence=_by_class(values, "mask_confidence", CONFIDENCE_EDGES),
    )
    content = {"weights": _weights_digest(folder), "baseline": baseline.model_dump(mode="json")}
    folder.baseline_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return baseline


def measured_baseline(folder: RunFolder) -> Baseline | None:
    """What `measure_baseline` wrote into a run; none if it was not called.

    Raises:
        RunUnusable: what is there is of other weights, or damaged.
    """
    if not folder.baseline_file.exists():
        return None
    try:
        content = json.loads(folder.baseline_file.read_text(encoding="utf-8"))
        baseline = Baseline.model_validate(content["baseline"])
        weights = content["weights"]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise RunUnusable(f"{folder.baseline_file} is damaged: run `baseline` again.") from error
    if weights != _weights_digest(folder):
        raise RunUnusable(f"{folder.baseline_file} is of other weights: run `baseline` again.")
    return baseline


def _measure(folder: RunFolder, records: Sequence[Record], values: dict[tuple[str, str], list[float]]) -> None:
    point = read_operating_point(folder)
    specified = specification(folder.configuration().input_size, point.rules())
    predictor = Predictor(export(folder.network(), specified, temperature=point.temperature), specified)
    for record in split_of(folder, records)[0].test:
        image = record.read_image()
        probability_map = predictor.run(to_input(image, specified.input))
        label_map = to_label_map(probability_map, specified.post_processing)
        found = measure(label_map, probability_map=probability_map, classes=specified.classes, spacing=None)
        values["brightness", ""].append(float(image.pixels[::4, ::4].mean()) / 255)
        for area in found.classes:
            values["class_fraction", area.label].append(area.fraction)
            if area.mean_confidence is not None:
                values["mask_confidence", area.label].append(area.mean_confidence)


def _by_class(
    values: dict[tuple[str, str], list[float]], measure_name: str, edges: Sequence[float]
) -> dict[str, Distribution]:
    return {label: _distribution(each, edges) for (name, label), each in values.items() if name == measure_name}


def _distribution(values: Sequence[float], edges: Sequence[float]) -> Distribution:
    bins = np.minimum(np.searchsorted(edges, values), len(edges) - 1)
    shares = np.bincount(bins, minlength=len(edges)) / len(values)
    return Distribution(edges=tuple(edges), shares=tuple(shares.tolist()))


def _weights_digest(folder: RunFolder) -> str:
    return hashlib.sha256(folder.weights_file.read_bytes()).hexdigest()
