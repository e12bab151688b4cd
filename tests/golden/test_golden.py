"""Results that were once looked at, and do not change by one pixel: `pytest --update-goldens` writes them anew."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efsnet import rle
from efsnet.image import PixelSpacing, decode_image
from efsnet.maps import ProbabilityMap
from efsnet.measurement import measure
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.preprocessing import to_input
from efsnet.specification import ClassSpecification, InputSpecification, PostProcessing

FOLDER = Path(__file__).parent
SIDE = 64
CLASSES = tuple(
    ClassSpecification(number=number, label=label, colour=(0, 0, number))
    for number, label in enumerate(("background", "benign", "malignant"))
)
RULES = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0.003, fill_holes=True, one_class_per_lesion=True)


def expect(name: str, computed: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """The computed is what the golden file says, to nine decimals: the last bits of a sine differ between machines."""
    path = FOLDER / f"{name}.json"
    rounded = json.loads(json.dumps(computed), parse_float=lambda digits: round(float(digits), 9))
    text = json.dumps(rounded, indent=2) + "\n"
    if request.config.getoption("--update-goldens"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def probability_map() -> ProbabilityMap:
    """A benign ring with a hole, a lesion of two opinions, and a speck, in steps of 1/64 that are exact everywhere."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    ring = np.abs((rows - 20) ** 2 + (columns - 20) ** 2 - 90) < 60
    blob = (np.abs(rows - 44) + np.abs(columns - 44)) < 12
    speck = (rows == 5) & (columns > 55)
    benign = np.where(ring, 48, 4) + np.where(blob & (columns < 42), 40, 0)
    malignant = np.where(blob, 60 - np.abs(rows - 44), 2) * (benign < 40) + np.where(speck, 50, 0)
    tumour = np.minimum(benign + malignant, 60)
    benign = tumour - np.minimum(malignant, tumour)
    stacked = np.stack([SIDE - tumour, benign, tumour - benign]) / SIDE
    return ProbabilityMap(stacked.astype(np.float32))


@pytest.mark.requirement("SEG-6")
def test_a_probability_map_gives_the_same_masks_and_areas(request: pytest.FixtureRequest) -> None:
    """Threshold, holes, lesions, their classes and axes, on the network's grid and on a larger one."""
    probabilities = probability_map()
    label_map = to_label_map(probabilities, RULES)
    larger = to_grid(label_map, 150, 201)
    computed = {
        f"{grid.rows}x{grid.columns}": {
            "masks": {each.label: rle.encode(grid.mask(each.number)) for each in CLASSES[1:]},
            "measurement": asdict(
                measure(grid, probability_map=probabilities, classes=CLASSES, spacing=PixelSpacing(0.1, 0.2))
            ),
        }
        for grid in (label_map, larger)
    }

    expect("masks", computed, request)


def test_an_upload_gives_the_same_input(request: pytest.FixtureRequest, busi: Path) -> None:
    """Decoding and resizing of real images are the same to the last bit: SHA-256 of the 512 x 512 input."""
    specification = InputSpecification(
        rows=512, columns=512, resize="stretch", filter="bilinear", value_range=(0.0, 1.0)
    )
    images = sorted(path for path in busi.glob("*/*.png") if "mask" not in path.name)
    computed = {
        path.name: hashlib.sha256(to_input(decode_image(path.read_bytes()), specification).tobytes()).hexdigest()
        for path in images
    }

    expect("inputs", computed, request)
