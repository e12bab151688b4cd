"""The use case: an uploaded image becomes a label map and its measurement."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, TypeVar

from efsnet.batching import Predicting
from efsnet.errors import GeometryError
from efsnet.image import Image, PixelSpacing, decode_image, pixels_of
from efsnet.maps import LabelMap, ProbabilityMap
from efsnet.measurement import Measurement, measure
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.preprocessing import to_input
from efsnet.specification import Specification
from model_store.loading import LoadedVersion
from service.drift import Drifts
from service.errors import DeadlineExceeded, MemoryShort, SpacingInvalid
from service.memory import give_freed_back
from service.metrics import Metrics
from service.remarks import Remark, remarks
from service.versions import Versions
from service.workers import WorkerPool

NEAREST_MM, FARTHEST_MM = 0.0001, 100
"""Bounds of the pixel spacings that are taken from people: beyond them is a slip of the pen."""

LARGE_PIXELS = 4_000_000
"""Images of more pixels are worked on one at a time: each takes hundreds of MB, whatever the number of workers."""

_LARGE = Lock()

MaskSpace = Literal["original", "model"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An image file, and what is asked of it."""

    data: bytes
    spacing: PixelSpacing | None
    mask_space: MaskSpace
    """`original`: the label map is on the image's own grid; `model`: on the network's."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image, and where in a larger picture it is from."""

    image: Image
    """What is analysed."""
    whole: Image
    """What it is part of; most are whole themselves."""
    top: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What became of an image."""

    image: Image
    """The whole picture."""
    label_map: LabelMap
    """On the grid that was asked for."""
    measurement: Measurement
    """Of that label map; shares are of the part that was analysed."""
    probability_map: ProbabilityMap
    """Of the part that was analysed, on the network's grid."""
    remarks: tuple[Remark, ...]
    seconds: dict[str, float]
    """Time of each stage, by its name, in the order in which they ran."""


def parse_spacing(text: str) -> PixelSpacing:
    """The pixel spacing that a person gives as ROW,COLUMN in millimetres.

    Raises:
        SpacingInvalid: It is none, or not within NEAREST_MM to FARTHEST_MM.
    """
    try:
        spacing = PixelSpacing(*map(float, text.split(",")))
    except (TypeError, ValueError, GeometryError):
        spacing = None
    if spacing is None or not all(NEAREST_MM <= mm <= FARTHEST_MM for mm in (spacing.row_mm, spacing.column_mm)):
        raise SpacingInvalid(f"give two distances between {NEAREST_MM} and {FARTHEST_MM} mm, as in 0.1,0.1")
    return spacing


class Stages:
    """A stopwatch for work that is done stage by stage."""

    def __init__(self, since: float) -> None:
        self.seconds: dict[str, float] = {}
        self._since = since

    def end(self, stage: str) -> None:
        """Ends a stage that began where the one before ended."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now


def segment(
    upload: Upload, specification: Specification, predictor: Predicting, stages: Stages, max_pixels: int
) -> Segmentation:
    """Decodes, predicts and measures an image file: with a server and without.

    Raises:
        ImageError: The file cannot be used.
    """
    image = decode_image(upload.data, max_pixels=max_pixels, spacing=upload.spacing)
    return segment_picture(Picture(image, image), upload.mask_space, specification, predictor, stages)


def segment_picture(
    picture: Picture, mask_space: MaskSpace, specification: Specification, predictor: Predicting, stages: Stages
) -> Segmentation:
    """Predicts and measures: the one way from pixels to an answer, whatever file they came in."""
    image = picture.image
    stages.end("decode")
    tensor = to_input(image, specification.input)
    stages.end("preprocess")
    probability_map = predictor.run(tensor)
    stages.end("infer")
    label_map = to_label_map(probability_map, specification.post_processing)
    grid = (image.rows, image.columns) if mask_space == "original" else (label_map.rows, label_map.columns)
    label_map = to_grid(label_map, *grid)
    measurement = measure(
        label_map,
        probability_map=probability_map,
        classes=specification.classes,
        spacing=image.spacing_on(label_map.rows, label_map.columns),
    )
    if mask_space == "original" and picture.whole is not image:
        label_map = label_map.placed(picture.whole.rows, picture.whole.columns, picture.top, picture.left)
        measurement = measurement.moved(picture.top, picture.left)
    stages.end("postprocess")
    told = remarks(image, tensor, specification.input)
    return Segmentation(picture.whole, label_map, measurement, probability_map, told, stages.seconds)


@contextmanager
def _turn(data: bytes) -> Iterator[None]:
    """The time in which an image may be worked on: that of a large one begins when no other large one has its own."""
    if pixels_of(data) <= LARGE_PIXELS:
        yield
        return
    with _LARGE:
        try:
            yield
        finally:
            give_freed_back()


class Segmenter:
    """Segments uploads with a pool of workers, each with its own predictor."""

    def __init__(
        self, versions: Versions, pool: WorkerPool, metrics: Metrics, *, max_pixels: int, deadline_s: float
    ) -> None:
        self.versions = versions
        self.pool = pool
        self._metrics = metrics
        self._drifts = Drifts(metrics)
        self.max_pixels = max_pixels
        self._deadline_s = deadline_s

    async def segment(self, upload: Upload, loaded: LoadedVersion, encode: Callable[[Segmentation], T]) -> T:
        """What `encode` makes of the segmentation, all done by a worker. Given up when this is cancelled.

        Raises:
            ImageError: The file cannot be used.
            QueueFull: Too many uploads wait already.
            DeadlineExceeded: It was not ready in time.
            MemoryShort: There was not enough memory for it.
        """
        queued = time.perf_counter()

        def work(worker: int) -> T:
            stages = Stages(queued)
            stages.end("queue")
            predictor = loaded.predictors[worker]
            specification = loaded.version.manifest.specification
            segmentation = segment(upload, specification, predictor, stages, self.max_pixels)
            answer = encode(segmentation)
            stages.end("encode")
            self.tell(loaded, segmentation)
            return answer

        def work_in_turn(worker: int) -> T:
            with _turn(upload.data):
                return work(worker)

        return await self.in_time(self.work(work_in_turn))

    async def work(self, work: Callable[[int], T]) -> T:
        """What a worker makes of a piece of work. Given up when this is cancelled.

        Raises:
            QueueFull: Too much work waits already.
            MemoryShort: There was not enough memory for it.
        """
        try:
            return await asyncio.wrap_future(self.pool.submit(work))
        except MemoryError as error:
            raise MemoryShort("There is no memory for this image now: try again, or send a smaller one.") from error

    async def in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that is given up at the deadline.

        Raises:
            DeadlineExceeded: It was not ready in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded(f"The answer was not ready within {self._deadline_s:g} s.") from error

    def tell(self, loaded: LoadedVersion, segmentation: Segmentation) -> None:
        """Counts what became of an image."""
        names = loaded.version.name, str(loaded.version.number)
        for stage, seconds in segmentation.seconds.items():
            self._metrics.stage_duration.labels(stage, *names).observe(seconds)
        # A sixteenth of the pixels tell as much of the mean.
        brightness = float(segmentation.image.pixels[::4, ::4].mean()) / 255
        self._metrics.input_brightness.labels(*names).observe(brightness)
        self._drifts.take(loaded.version, brightness, segmentation.measurement.classes)
        for remark in segmentation.remarks:
            self._metrics.remarks.labels(remark.code).inc()
        for area in segmentation.measurement.classes:
            self._metrics.class_fraction.labels(area.label, *names).observe(area.fraction)
            if area.mean_confidence is not None:
                self._metrics.mask_confidence.labels(area.label, *names).observe(area.mean_confidence)
