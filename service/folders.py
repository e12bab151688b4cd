"""Segments files into a folder, for people without a server: masks, overlays and one table of areas."""

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from efsnet.errors import ImageError
from efsnet.image import PixelSpacing
from efsnet.rendering import overlay_png, palette_png
from model_store.loading import LoadedVersion
from service.errors import OutputsExist
from service.segmentation import Segmentation, Stages, Upload, segment

TABLE = "areas.csv"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be segmented."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the outputs of each file go: under `masks/` and `overlays/`, at the place that it has among the files."""

    folder: Path
    places: dict[Path, str]
    """Path of each file's mask and overlay below those folders."""

    @classmethod
    def of(cls, files: Iterable[Path], folder: Path, *, overwrite: bool) -> "Plan":
        """The plan for these files.

        Raises:
            OutputsExist: The folder has results already and `overwrite` is not set, or two files would share a place.
        """
        if (folder / TABLE).exists() and not overwrite:
            raise OutputsExist(f"{folder} holds the results of an earlier run: name another folder, or --overwrite.")
        absolute = dict.fromkeys(file.absolute() for file in files)
        common = Path(os.path.commonpath([file.parent for file in absolute]))
        places = {file: _as_png(file.relative_to(common)) for file in absolute}
        if len(set(places.values())) < len(places):
            raise OutputsExist("Two of the files differ only in .png at the end of their names: segment them apart.")
        return cls(folder, places)


def _as_png(path: Path) -> str:
    """A file of another kind keeps its suffix before `.png`: scan.png and scan.jpg stay apart."""
    return str(path) if path.suffix == ".png" else f"{path}.png"


def segment_files(
    plan: Plan, loaded: LoadedVersion, *, spacing: PixelSpacing | None, max_pixels: int
) -> Iterator[Unreadable | None]:
    """Segments file after file, and yields after each: what was wrong with it, or nothing."""
    specification = loaded.version.manifest.specification
    plan.folder.mkdir(parents=True, exist_ok=True)
    with (plan.folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_header(loaded))
        for path, place in plan.places.items():
            try:
                upload = Upload(path.read_bytes(), spacing=spacing, mask_space="original")
                segmentation = segment(upload, specification, loaded.predictor, Stages(perf_counter()), max_pixels)
            except OSError as error:
                yield Unreadable(path, f"{error.strerror}.")
            except ImageError as error:
                yield Unreadable(path, str(error))
            else:
                mask = palette_png(segmentation.label_map, specification.classes)
                overlay = overlay_png(segmentation.image, segmentation.label_map, specification.classes)
                _write(plan.folder / "masks" / place, mask)
                _write(plan.folder / "overlays" / place, overlay)
                table.writerow(_row(path, segmentation, loaded))
                yield None


def _header(loaded: LoadedVersion) -> list[str]:
    labels = [each.label for each in loaded.version.manifest.specification.lesion_classes]
    areas = [
        f"{label}_{column}" for label in labels for column in ("pixels", "fraction", "area_mm2", "mean_confidence")
    ]
    return ["file", "rows", "columns", *areas, "lesions", "warnings", "model", "version", "digest"]


def _row(path: Path, segmentation: Segmentation, loaded: LoadedVersion) -> list[object]:
    measurement, version = segmentation.measurement, loaded.version
    areas = [
        cell
        for area in measurement.classes
        for cell in (area.pixels, area.fraction, area.area_mm2, area.mean_confidence)
    ]
    warnings = " ".join(remark.code for remark in segmentation.remarks)
    image = segmentation.image
    count = len(measurement.lesions)
    return [path, image.rows, image.columns, *areas, count, warnings, version.name, version.number, version.digest]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
