"""What is known of each measured image, and the folder that keeps it.

FOLDER/cases.csv         one line an image: what it is, its confusion counts, and all that is measured of it
       calibration.json  the histograms of each image, by its key
       label_maps/       the predicted label map of each image, a palette PNG on the network's grid

All else, figures, reports, comparisons, is made from these and can be made again.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from training.datasets.records import CLASS_NUMBERS
from training.errors import EvaluationUnusable

MISS_IOU = 0.1
"""A lesion outlined with less than this IoU counts as missed."""

BINS = 15
"""Of a calibration histogram: of equal width, over confidences from 0 to 1."""

REGIONS = ("all pixels", "band")
"""Where calibration is measured: everywhere, and round the outline of the reference lesion."""

_COUNT_NAMES = tuple(
    f"{reference}_as_{predicted}"
    for reference in ("background", "benign", "malignant")
    for predicted in ("background", "benign", "malignant")
)

Histogram = tuple[tuple[float, float, float], ...]
"""Of each bin: number of pixels, sum of their confidences, number of them that are right."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How sure the network was of the pixels of one region of one image, and how often it was right."""

    histogram: Histogram
    """By the probability of the most probable class."""
    brier: float
    """Sum over pixels and classes of (probability - (1 if it is the reference's class else 0))²."""


@dataclass(frozen=True, slots=True)
class Case:
    """One measured image.

    Grids: `counts`, shares, components and calibration are on the network's grid; distances and axes are on the
    image's own, on which the service answers. Lesion means benign and malignant taken together.
    """

    dataset: str
    name: str
    scene: str
    group: str
    """Cases of one group, a patient or a scene, are drawn together when intervals are resampled."""
    kind: str
    counts: tuple[int, ...]
    """Pixels by reference and prediction, row by row of the 3 x 3 confusion matrix."""
    lesions: int
    """Connected lesions of the reference."""
    lesions_found_50: int
    """Of those, with a predicted one of IoU >= 0.5 of its own."""
    lesions_found_10: int
    """Of those, with a predicted one of IoU >= 0.1 of its own."""
    false_lesions: int
    """Predicted lesions that find none."""
    largest_share: float
    """Area of the largest predicted lesion, as a share of the image."""
    rows: int
    """Of the image as it was stored."""
    columns: int
    predicted_axis_px: float
    """Longest axis of the largest predicted lesion; 0 if there is none."""
    reference_axis_px: float
    expected_error: float
    """1 - Dice as the probabilities themselves lead to expect it, a measure of uncertainty."""
    mirror_difference: float
    """1 - Dice of the tumour probabilities of the image and of its mirror image, another (of sums of their minima)."""
    before: tuple[Calibration, Calibration]
    """At temperature 1, of each of `REGIONS`."""
    after: tuple[Calibration, Calibration]
    """At the temperature of the operating point."""
    hd95_px: float | None = None
    """None where prediction or reference is empty, as all distances."""
    assd_px: float | None = None
    malignant_share: float | None = None
    """Of the tumour probability inside the predicted lesions; None if there are none."""
    row_mm: float | None = None
    """Pixel spacing of the image as it was stored, where it is known."""
    column_mm: float | None = None
    predicted_axis_mm: float | None = None
    reference_axis_mm: float | None = None
    device: str | None = None
    remarks: tuple[str, ...] = ()
    fold: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in CLASS_NUMBERS or len(self.counts) != len(_COUNT_NAMES) or not self.pixels:
            raise ValueError(f"{self.name}: {self.kind!r} with {len(self.counts)} counts of {self.pixels} pixels.")

    @property
    def key(self) -> str:
        """Unique in a mix of data sets, as the record's."""
        return f"{self.dataset}/{self.name}"

    @property
    def pixels(self) -> int:
        """Of the network's grid."""
        return sum(self.counts)

    @property
    def predicted_share(self) -> float:
        """Area of all predicted lesions, as a share of the image."""
        return 1 - sum(self.counts[::3]) / self.pixels

    @property
    def reference_share(self) -> float:
        """Area of all lesions of the reference, as a share of the image."""
        return 1 - sum(self.counts[:3]) / self.pixels

    @property
    def iou(self) -> float:
        """|P∩R| / |P∪R| of the lesions; of two empty ones as `_of_nothing`."""
        union = self.pixels - self.counts[0]
        return self._hits / union if union else self._of_nothing

    @property
    def dice(self) -> float:
        """2|P∩R| / (|P|+|R|) of the lesions; of two empty ones as `_of_nothing`."""
        total = self.pixels - self.counts[0] + self._hits
        return 2 * self._hits / total if total else self._of_nothing

    @property
    def found(self) -> bool:
        """Whether the image has a tumour that is not missed."""
        return self.kind != "normal" and self.iou >= MISS_IOU

    @property
    def predicted_kind(self) -> str:
        """The class of most predicted lesion pixels, `normal` if there are none."""
        benign, malignant = sum(self.counts[1::3]), sum(self.counts[2::3])
        return "normal" if not benign + malignant else "malignant" if malignant > benign else "benign"

    @property
    def _hits(self) -> int:
        return sum(self.counts[4:6]) + sum(self.counts[7:9])

    @property
    def _of_nothing(self) -> float:
        """Where nothing is marked and the reference has no pixel: 1, but 0 for a tumour smaller than the grid shows."""
        return 1.0 if self.kind == "normal" else 0.0


@dataclass(frozen=True, slots=True)
class EvaluationFolder:
    """Where measured images are kept."""

    path: Path

    @property
    def cases_file(self) -> Path:
        return self.path / "cases.csv"

    @property
    def calibration_file(self) -> Path:
        return self.path / "calibration.json"

    def label_map_file(self, key: str) -> Path:
        """Of the case or record with this key."""
        return self.path / "label_maps" / (key if key.endswith(".png") else f"{key}.png")

    def write(self, cases: Sequence[Case]) -> None:
        """Replaces what was known."""
        self.path.mkdir(parents=True, exist_ok=True)
        calibration = {case.key: {"before": _plain(case.before), "after": _plain(case.after)} for case in cases}
        self.calibration_file.write_text(json.dumps(calibration, separators=(",", ":")) + "\n", encoding="utf-8")
        with self.cases_file.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [*_columns(), *_COUNT_NAMES, *_DERIVED], lineterminator="\n")
            table.writeheader()
            table.writerows(_line(case) for case in cases)

    def read(self) -> tuple[Case, ...]:
        """What `write` wrote.

        Raises:
            EvaluationUnusable: nothing is there, or what is there is not what was written.
        """
        try:
            calibration = json.loads(self.calibration_file.read_text(encoding="utf-8"))
            with self.cases_file.open(newline="", encoding="utf-8") as file:
                cases = tuple(_case(line, calibration) for line in csv.DictReader(file))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise EvaluationUnusable(f"{self.path} holds no evaluation: run `evaluate` first ({error}).") from error
        if len(cases) != len(calibration):
            raise EvaluationUnusable(
                f"{self.path} is cut off, {len(cases)} of {len(calibration)} images are left: run `evaluate` first."
            )
        return cases


_DERIVED = ("dice", "iou", "predicted_share", "reference_share", "predicted_kind")
"""Written for readers of the table; what they follow from stands beside them, and is what is read."""

_ADAPTER = TypeAdapter(Case)


def _columns() -> Iterable[str]:
    return (field.name for field in fields(Case) if field.name not in {"counts", "before", "after"})


def _line(case: Case) -> dict[str, Any]:
    line = {name: getattr(case, name) for name in (*_columns(), *_DERIVED)}
    line["remarks"] = ";".join(case.remarks)
    return line | dict(zip(_COUNT_NAMES, case.counts, strict=True))


def _case(line: dict[str, str], calibration: dict[str, Any]) -> Case:
    known: dict[str, Any] = {name: line[name] for name in _columns() if line[name]}
    known["remarks"] = tuple(filter(None, line["remarks"].split(";")))
    known["counts"] = tuple(int(line[name]) for name in _COUNT_NAMES)
    return _ADAPTER.validate_python(known | calibration[f"{line['dataset']}/{line['name']}"])


def _plain(regions: tuple[Calibration, Calibration]) -> list[dict[str, Any]]:
    return [asdict(region) for region in regions]
