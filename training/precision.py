"""What computing in fewer bits does to a run's masks: the condition on which its version may be served so."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from efsnet.postprocessing import to_label_map
from efsnet.predictor import Computation, Predictor, has_bfloat16
from efsnet.preprocessing import to_input
from efsnet.specification import Specification
from model_store.manifest import MeasuredPrecision, Metric
from training.cross_validation import finished
from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import NothingToTest, RunUnusable
from training.evaluation.measuring import on_grid_of
from training.evaluation.operating_point import median_operating_point, read_operating_point
from training.evaluation.resampling import draw, interval, mean
from training.evaluation.unseen import split_of
from training.export.int8 import quantised
from training.export.onnx_export import export
from training.run_folder import RunFolder
from training.specification import specification

CALIBRATION_IMAGES = 96
"""Images of the training part on which the ranges of 8-bit numbers are found."""


@dataclass(frozen=True, slots=True)
class Change:
    """A reduced precision against f32, on the same images.

    Args:
        precision: `bf16` or `int8`.
        engine: Of both.
        images: How many were compared.
        dice: Mean change of the lesion Dice on the network's grid, and its paired 95 % interval over groups.
        differing_pixels: Share of all pixels whose class differs.
    """

    precision: str
    engine: str
    images: int
    dice: tuple[float, float, float]
    differing_pixels: float

    def measured(self) -> MeasuredPrecision:
        """As a manifest says it.

        Raises:
            ValidationError: versions are not served in this precision.
        """
        value, low, high = self.dice
        return MeasuredPrecision.model_validate(
            {
                "precision": self.precision,
                "engine": self.engine,
                "images": self.images,
                "dice_change": Metric(value=value, interval=(low, high)),
                "differing_pixels": self.differing_pixels,
            }
        )


def compare_precisions(
    folder: RunFolder, records: Sequence[Record], figures_of: Path | None = None
) -> tuple[Change, ...]:
    """Of an evaluated run, on its test part: bfloat16 where this machine has it, and 8-bit numbers.

    What a version can be served in, which is bfloat16 alone, is written into the run, where `publish` finds it.

    Args:
        folder: Of the run.
        records: Of the sets that it was split over.
        figures_of: A cross-validation by the same recipe, for a run that holds nothing out. It is measured on what it
            learnt from: both precisions have seen the same images, and it is their difference that is asked for.

    Raises:
        RunUnusable: the run is not finished or not evaluated.
        SplitDiffers: images of the split are not in the sets.
        NothingToTest: the run holds out nothing with a tumour.
    """
    point = read_operating_point(folder) if figures_of is None else median_operating_point(finished(figures_of))
    specified = specification(folder.configuration().input_size, point.rules())
    model = export(folder.network(), specified, temperature=point.temperature)
    split, _, _ = split_of(folder, records)
    held_out = split.test if figures_of is None else split.train
    tested = [record for record in held_out if not record.contradictory]
    if not any(record.kind != "normal" for record in tested):
        raise NothingToTest(f"{folder.path} holds out no image with a tumour.")
    exact = Predictor(model, specified)
    others = {"int8": Predictor(quantised(model, _calibration(split.train, specified)), specified)}
    if has_bfloat16() and exact.engine.provider == "openvino":
        others["bf16"] = Predictor(model, specified, Computation(precision="bf16"))
    compared = _compared(exact, others, tested)
    content = {
        "weights": _weights_digest(folder),
        "precisions": [change.measured().model_dump(mode="json") for change in compared if change.precision != "int8"],
    }
    folder.precisions_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return compared


def measured_precisions(folder: RunFolder) -> tuple[MeasuredPrecision, ...]:
    """What `compare_precisions` wrote into a run; nothing if it was not called.

    Raises:
        RunUnusable: what is there is of other weights, or damaged.
    """
    if not folder.precisions_file.exists():
        return ()
    try:
        content = json.loads(folder.precisions_file.read_text(encoding="utf-8"))
        measured = tuple(MeasuredPrecision.model_validate(each) for each in content["precisions"])
        weights = content["weights"]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise RunUnusable(f"{folder.precisions_file} is damaged: run `precision` again.") from error
    if weights != _weights_digest(folder):
        raise RunUnusable(f"{folder.precisions_file} is of other weights: run `precision` again.")
    return measured


def _compared(exact: Predictor, others: Mapping[str, Predictor], records: Sequence[Record]) -> tuple[Change, ...]:
    rules = exact.specification.post_processing
    dice: dict[str, list[float]] = {name: [] for name in ("f32", *others)}
    differing = dict.fromkeys(others, 0)
    pixels = 0
    for record in records:
        tensor = to_input(record.read_image(), exact.specification.input)
        probability_map = exact.run(tensor)
        reference = on_grid_of(probability_map, record.read_reference()).array > 0
        found = to_label_map(probability_map, rules).array
        pixels += found.size
        dice["f32"].append(_dice(found > 0, reference))
        for name, predictor in others.items():
            changed = to_label_map(predictor.run(tensor), rules).array
            differing[name] += int(np.count_nonzero(changed != found))
            dice[name].append(_dice(changed > 0, reference))
    tumours = np.array([record.kind != "normal" for record in records])
    with_tumour = [record for record in records if record.kind != "normal"]
    kinds = np.array([CLASS_NUMBERS[record.kind] for record in with_tumour])
    weights = draw([record.group for record in with_tumour], kinds)
    return tuple(
        Change(
            precision=name,
            engine=f"{exact.engine.name}, {exact.engine.provider}",
            images=len(records),
            dice=interval(mean((np.array(dice[name]) - np.array(dice["f32"]))[tumours]), weights),
            differing_pixels=differing[name] / pixels,
        )
        for name in others
    )


def _dice(found: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """2 |P∩R| / (|P|+|R|); of two empty masks 1, which no tumour image has."""
    both = int(found.sum()) + int(reference.sum())
    return 2 * int((found & reference).sum()) / both if both else 1.0


def _calibration(records: Sequence[Record], specified: Specification) -> Iterator[NDArray[np.uint8]]:
    chosen = np.random.default_rng(0).permutation(len(records))[:CALIBRATION_IMAGES]
    return (to_input(records[index].read_image(), specified.input) for index in sorted(chosen))


def _weights_digest(folder: RunFolder) -> str:
    return hashlib.sha256(folder.weights_file.read_bytes()).hexdigest()
