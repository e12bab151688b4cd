"""Segments a video file into a folder, for people without a server: overlay, table and plot over time."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from efsnet.image import Image, image_from_pixels
from efsnet.maps import LabelMap
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.preprocessing import to_input
from efsnet.rendering import overlay
from efsnet.smoothing import Smoother
from model_store.loading import LoadedVersion
from service.area_plot import Series, area_plot
from service.errors import OutputsExist, VideoUnusable

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"))
"""Of files that are taken for videos."""


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """Where the outputs of a video go."""

    video: Path
    folder: Path

    @classmethod
    def of(cls, video: Path, folder: Path, *, overwrite: bool) -> "VideoPlan":
        """The plan for this file.

        Raises:
            OutputsExist: The folder has results of a video of this name already, and `overwrite` is not set.
        """
        plan = cls(video, folder)
        if plan.table.exists() and not overwrite:
            raise OutputsExist(f"{plan.table} is of an earlier run: name another folder, or --overwrite.")
        return plan

    @property
    def overlay(self) -> Path:
        """The video with the lesions drawn in."""
        return self.folder / f"{self.video.name}.overlay.mp4"

    @property
    def table(self) -> Path:
        """A row for each frame."""
        return self.folder / f"{self.video.name}.areas.csv"

    @property
    def plot(self) -> Path:
        """The areas over time."""
        return self.folder / f"{self.video.name}.areas.svg"


def is_video(path: Path) -> bool:
    """Whether the file's name is that of a video."""
    return path.suffix.lower() in SUFFIXES


def segment_video(plan: VideoPlan, loaded: LoadedVersion, *, max_pixels: int) -> Iterator[int]:
    """Segments frame after frame, and yields after each how many there were.

    Raises:
        VideoUnusable: It cannot be read, has no picture, or its frames are too large; or PyAV is not installed.
    """
    av = _av()
    plan.folder.mkdir(parents=True, exist_ok=True)
    timeline = _Timeline(loaded)
    try:
        with (
            av.open(plan.video) as source,
            av.open(plan.overlay, "w") as target,
            plan.table.open("w", encoding="utf-8", newline="") as file,
        ):
            drawing = _Drawing(source, target, max_pixels)
            table = csv.writer(file)
            table.writerow(timeline.header)
            for number, frame in enumerate(source.decode(video=0), 1):
                time_s = float((number - 1) / drawing.rate) if frame.time is None else frame.time
                image = image_from_pixels(frame.to_ndarray(format="rgb24"))
                table.writerow(timeline.row(number, time_s, image))
                drawing.add(overlay(image, to_grid(timeline.shown, image.rows, image.columns), timeline.classes))
                yield number
            drawing.end()
    except av.FFmpegError as error:
        raise VideoUnusable(f"{plan.video} cannot be read as a video: {error.strerror}.") from error
    if not timeline.at_s:
        plan.overlay.unlink(missing_ok=True)
        plan.table.unlink()
        raise VideoUnusable(f"{plan.video} has no frame that can be read: is it whole?")
    plan.plot.write_text(area_plot(plan.video.name, timeline.at_s, timeline.series), encoding="utf-8")


class _Timeline:
    """What is found from frame to frame."""

    def __init__(self, loaded: LoadedVersion) -> None:
        self._loaded = loaded
        self._specification = loaded.version.manifest.specification
        self._smoother = Smoother(self._specification.post_processing)
        self.classes = self._specification.classes
        self.at_s: list[float] = []
        self.shown = LabelMap(np.zeros((1, 1), np.uint8))
        """Of the last frame, on the network's grid."""
        self._fractions: list[list[float]] = []

    @property
    def header(self) -> list[str]:
        """Of the table."""
        labels = [each.label for each in self.classes[1:]]
        shown, raw = ([f"{label}_{kind}" for label in labels] for kind in ("fraction", "raw_fraction"))
        return ["frame_number", "time_s", *shown, *raw, "is_cut", "is_still", "model", "version", "digest"]

    @property
    def series(self) -> list[Series]:
        """A line of the shown areas for each class."""
        return [
            Series(each.label, each.colour, [row[index] for row in self._fractions])
            for index, each in enumerate(self.classes[1:])
        ]

    def row(self, number: int, time_s: float, image: Image) -> list[object]:
        """Of the table, for the next frame."""
        tensor = to_input(image, self._specification.input)
        probability_map = self._loaded.predictor.run(tensor)
        steadied = self._smoother.step(tensor, probability_map, time_s)
        self.shown = steadied.label_map
        shown = self._shares(self.shown)
        raw = self._shares(to_label_map(probability_map, self._specification.post_processing))
        self.at_s.append(time_s)
        self._fractions.append(shown)
        version, flags = self._loaded.version, (int(steadied.is_cut), int(steadied.is_still))
        return [number, f"{time_s:.3f}", *shown, *raw, *flags, version.name, version.number, version.digest]

    def _shares(self, label_map: LabelMap) -> list[float]:
        pixels = np.bincount(label_map.array.ravel(), minlength=len(self.classes))
        return [round(int(count) / label_map.array.size, 6) for count in pixels[1:]]


class _Drawing:
    """The overlay as a video: H.264, of the source's size and rate.

    Raises:
        VideoUnusable: The source has no pictures, or too large ones.
    """

    def __init__(self, source: "InputContainer", target: "OutputContainer", max_pixels: int) -> None:
        if not source.streams.video:
            raise VideoUnusable("The file has no pictures: it is no video.")
        found = source.streams.video[0]
        if found.width * found.height > max_pixels:
            raise VideoUnusable(f"Frames have at most {max_pixels} pixels; these are {found.width} x {found.height}.")
        self.rate = found.average_rate or Fraction(25)
        self._target = target
        self._stream = target.add_stream("libx264", rate=self.rate, options={"crf": "20"})
        # H.264 halves the colours' grid: an odd side loses its last line.
        self._rows, self._columns = found.height // 2 * 2, found.width // 2 * 2
        self._stream.height, self._stream.width = self._rows, self._columns
        self._stream.pix_fmt = "yuv420p"

    def add(self, drawn: NDArray[np.uint8]) -> None:
        """The next picture, (rows, columns, 3) uint8."""
        picture = np.ascontiguousarray(drawn[: self._rows, : self._columns])
        self._target.mux(self._stream.encode(_av().VideoFrame.from_ndarray(picture, format="rgb24")))

    def end(self) -> None:
        """After the last picture."""
        self._target.mux(self._stream.encode())


def _av() -> Any:
    try:
        import av  # noqa: PLC0415 (heavy, and an extra)
    except ImportError as error:
        raise VideoUnusable("Videos need PyAV: `scripts/setup video` installs it.") from error
    return av
