"""Made cases, and label maps of rectangles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from efsnet.maps import LabelMap
from training.evaluation.cases import BINS, Calibration, Case
from training.evaluation.measuring import boundary_distances, confusion_counts, match

SIDE = 20

Box = tuple[int, slice, slice]
MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]


@pytest.fixture
def label_map() -> MakeMap:
    """Makes a label map of 20 x 20 pixels with rectangles of class numbers."""

    def make(*boxes: Box) -> LabelMap:
        array = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for number, rows, columns in boxes:
            array[rows, columns] = number
        return LabelMap(array)

    return make


@pytest.fixture
def case() -> MakeCase:
    """Makes the case of a prediction and a reference; other attributes may be given."""
    numbers = iter(range(1_000_000))

    def make(predicted: LabelMap, reference: LabelMap, **others: Any) -> Case:
        name = f"{next(numbers)}.png"
        found, lesion = predicted.array > 0, reference.array > 0
        components = match(found, lesion)
        hd95, assd = boundary_distances(found, lesion)
        sure = Calibration(((0.0, 0.0, 0.0),) * (BINS - 1) + ((float(SIDE * SIDE),) * 3,), brier=0.0)
        given = {
            "dataset": "BUSI",
            "name": name,
            "scene": name,
            "group": f"BUSI/{name}",
            "kind": ("normal", "benign", "malignant")[int(reference.array.max())],
            "counts": confusion_counts(predicted, reference),
            "lesions": components.lesions,
            "lesions_found_50": components.found_50,
            "lesions_found_10": components.found_10,
            "false_lesions": components.false,
            "largest_share": components.largest_px / predicted.array.size,
            "rows": SIDE,
            "columns": SIDE,
            "hd95_px": hd95,
            "assd_px": assd,
            "predicted_axis_px": 5.0,
            "reference_axis_px": 5.0,
            "expected_error": 0.5,
            "mirror_difference": 0.5,
            "before": (sure, sure),
            "after": (sure, sure),
        }
        return Case(**{**given, **others})

    return make
