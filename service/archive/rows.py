"""From the file of an image to its rows in the table: what was found in each frame, or why there is nothing."""

import re
import time
from collections.abc import Callable, Iterator, MutableSequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from efsnet.errors import EFSNetError, ImageError
from efsnet.image import PixelSpacing
from efsnet.measurement import ClassArea, Lesion
from efsnet.rle import RunLengths
from efsnet.specification import Specification
from model_store.digest import Digest
from model_store.loading import LoadedVersion
from service.dicom.analysis import FrameFinding
from service.dicom.decoding import DecoderProcess
from service.dicom.source import DicomSource, Limits, is_dicom, read_source
from service.errors import DecoderUnavailable, InstanceUnusable, ServiceError
from service.segmentation import Segmentation, Stages, Upload, segment, segment_picture

if TYPE_CHECKING:
    from pydicom import Dataset

Status = Literal["segmented", "unusable", "unavailable"]
"""`unusable`: the file cannot be segmented. `unavailable`: it could not be read or worked on now."""

Row = dict[str, Any]

_LESION = pa.struct(
    [
        ("number", pa.int32()),
        ("class", pa.string()),
        ("pixels", pa.int64()),
        ("fraction", pa.float64()),
        ("area_mm2", pa.float64()),
        ("longest_px", pa.float64()),
        ("across_px", pa.float64()),
        ("longest_mm", pa.float64()),
        ("across_mm", pa.float64()),
        ("bbox_xywh", pa.list_(pa.int32(), 4)),
        ("centroid_xy", pa.list_(pa.float64(), 2)),
        ("mean_confidence", pa.float64()),
    ]
)
"""As `efsnet.measurement.Lesion` and `Axes` define them."""


def schema(specification: Specification, tags: tuple[str, ...]) -> pa.Schema:
    """The columns of the table: what is unknown, or not there, is null.

    Args:
        specification: Of the version, whose lesion classes have columns of their own.
        tags: Keywords of the DICOM attributes that were asked for.
    """
    kinds = {
        "pixels": pa.int64(),
        "fraction": pa.float64(),
        "area_mm2": pa.float64(),
        "mean_confidence": pa.float64(),
        "rle": pa.string(),
    }
    labels = [each.label for each in specification.lesion_classes]
    return pa.schema(
        [
            ("source", pa.string()),
            ("digest", pa.string()),
            ("frame_number", pa.int32()),
            ("status", pa.string()),
            ("code", pa.string()),
            ("reason", pa.string()),
            ("rows", pa.int32()),
            ("columns", pa.int32()),
            ("row_mm", pa.float64()),
            ("column_mm", pa.float64()),
            *((f"{label}_{name}", kind) for label in labels for name, kind in kinds.items()),
            ("lesions", pa.list_(_LESION)),
            ("warnings", pa.list_(pa.string())),
            ("model", pa.string()),
            ("version", pa.int32()),
            ("version_digest", pa.string()),
            ("engine", pa.string()),
            ("precision", pa.string()),
            *((f"tag_{keyword}", pa.string()) for keyword in tags),
        ]
    )


def failed(source: str, status: Status, error: BaseException | str) -> Row:
    """The row of an image without a finding; the reason has none of the file's words."""
    if isinstance(error, str):
        return {"source": source, "status": status, "code": "worker_ended", "reason": error}
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    if isinstance(error, OSError):
        words = error.strerror or "It cannot be read."
    elif isinstance(error, EFSNetError | ServiceError):
        words = str(error)
    else:  # its text may quote the file
        words = f"Failed unexpectedly ({type(error).__name__})."
    return {"source": source, "status": status, "code": code, "reason": words}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Makes rows of files, by one version, on one thread: as the service makes its answers."""

    loaded: LoadedVersion
    limits: Limits
    decoder: DecoderProcess
    spacing: PixelSpacing | None = None
    """Given by a person, in place of what an instance says of itself."""
    tags: tuple[str, ...] = ()
    """Keywords of DICOM attributes that are copied into the table; nothing else of a header is."""

    def of(self, source: str, data: bytes) -> list[Row]:
        """One row for each frame, or a single one that says why there is none."""
        common = {"source": source, "digest": str(Digest.of(data)), **self._version()}
        return [{**common, **row} for row in self._guarded(source, partial(self._of_file, source, data))]

    def _of_file(self, source: str, data: bytes) -> Iterator[Row]:
        if not is_dicom(data):
            upload = Upload(data, spacing=self.spacing, mask_space="original")
            made = segment(upload, self._specification, self.loaded.predictor, _now(), self.limits.max_pixels)
            yield self._row(made, 0, self.spacing)
            return
        instance = read_source(data, self.limits, self.decoder)
        tags = {f"tag_{keyword}": _text(instance.header, keyword) for keyword in self.tags}
        for frame_index in range(instance.number_of_frames):
            for row in self._guarded(source, partial(self._of_frame, instance, frame_index)):
                yield {**row, "frame_number": frame_index + 1, **tags}

    def _of_frame(self, instance: DicomSource, frame_index: int) -> Iterator[Row]:
        picture = instance.picture(frame_index, self.spacing)
        made = segment_picture(picture, "original", self._specification, self.loaded.predictor, _now())
        yield self._row(made, frame_index, self.spacing or instance.spacing)

    def _guarded(self, source: str, make: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        """The rows, or the one that says what was wrong; whatever it is, it is wrong with this image alone."""
        try:
            yield from make()
        except (ImageError, InstanceUnusable) as error:
            yield failed(source, "unusable", error)
        except DecoderUnavailable as error:
            yield failed(source, "unavailable", error)
        except (EFSNetError, ServiceError):  # of the machine, and not of the file
            raise
        except Exception as error:  # noqa: BLE001 - one file that fails must not keep the others from being done
            yield failed(source, "unavailable", error)

    @property
    def _specification(self) -> Specification:
        return self.loaded.version.manifest.specification

    def _version(self) -> Row:
        version, engine = self.loaded.version, self.loaded.predictor.engine
        return {
            "model": version.name,
            "version": version.number,
            "version_digest": str(version.digest),
            "engine": f"{engine.name}, {engine.provider}",
            "precision": engine.precision,
        }

    def _row(self, made: Segmentation, frame_index: int, spacing: PixelSpacing | None) -> Row:
        finding = FrameFinding.of(frame_index, made)
        row: Row = {
            "frame_number": frame_index + 1,
            "status": "segmented",
            "rows": finding.rows,
            "columns": finding.columns,
            "row_mm": spacing and spacing.row_mm,
            "column_mm": spacing and spacing.column_mm,
            "lesions": [_lesion(lesion) for lesion in finding.measurement.lesions],
            "warnings": [remark.code for remark in finding.remarks],
        }
        for area in finding.measurement.classes:
            row |= _area(area, finding.masks[area.number])
        return row


def mask_of(row: Row, label: str) -> RunLengths:
    """A class's mask in a row, as `efsnet.rle` and pycocotools decode it."""
    return {"size": [row["rows"], row["columns"]], "counts": row[f"{label}_rle"]}


def _area(area: ClassArea, mask: RunLengths) -> Row:
    return {
        f"{area.label}_pixels": area.pixels,
        f"{area.label}_fraction": area.fraction,
        f"{area.label}_area_mm2": area.area_mm2,
        f"{area.label}_mean_confidence": area.mean_confidence,
        f"{area.label}_rle": mask["counts"],
    }


def _lesion(lesion: Lesion) -> Row:
    axes_mm = lesion.axes_mm
    return {
        "number": lesion.number,
        "class": lesion.label,
        "pixels": lesion.pixels,
        "fraction": lesion.fraction,
        "area_mm2": lesion.area_mm2,
        "longest_px": lesion.axes_px.longest,
        "across_px": lesion.axes_px.across,
        "longest_mm": axes_mm and axes_mm.longest,
        "across_mm": axes_mm and axes_mm.across,
        "bbox_xywh": list(lesion.bbox_xywh),
        "centroid_xy": list(lesion.centroid_xy),
        "mean_confidence": lesion.mean_confidence,
    }


def _text(header: "Dataset", keyword: str) -> str | None:
    """An attribute as DICOM writes it; None where it is absent, empty or damaged."""
    try:
        value = header.get(keyword)
        return "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value or "") or None
    except Exception:  # noqa: BLE001 - a value is parsed when it is asked for
        return None


def _now() -> Stages:
    return Stages(time.perf_counter())
