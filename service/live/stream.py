"""One live stream: its newest frame, and what is remembered from frame to frame."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Lock

import numpy as np

from efsnet.maps import LabelMap
from efsnet.postprocessing import to_label_map
from efsnet.preprocessing import to_input
from efsnet.rendering import palette_png
from efsnet.rle import encode
from efsnet.smoothing import Smoother, Steadied
from efsnet.specification import ClassSpecification
from model_store.loading import LoadedVersion
from service.live.messages import FrameMessage, MaskFormat, answer_message

RECENT = 240
"""Answers whose latencies the statistics are of."""


@dataclass(slots=True)
class Counts:
    """What became of a stream's frames."""

    received: int = 0
    answered: int = 0
    dropped: int = 0
    """A newer frame came before a worker was free."""
    unsent: int = 0
    """A newer answer was ready before the client had taken this one."""
    changed_shown: int = 0
    """Pixels of the shown mask that changed from one frame to the next, cuts left out."""
    changed_raw: int = 0
    """The same of the raw mask."""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Of the last answers: from the whole frame's arrival until its answer was ready."""


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    frame: FrameMessage
    at_s: float


class Stream:
    """The newest frame wins: what a worker finds when it begins is the last that came, and older ones are dropped.

    Workers may be at two frames at once. Each waits for the one before with what follows the network, since that is
    smoothed along the time.

    Args:
        loaded: The version that answers all of the stream's frames.
        mask_format: Of the answers.
        max_pixels: Of a frame.
        deliver: Is told each answer by the worker that made it, in the order of the frames.
    """

    def __init__(
        self, loaded: LoadedVersion, mask_format: MaskFormat, max_pixels: int, deliver: Callable[[bytes], None]
    ) -> None:
        self.loaded = loaded
        self.counts = Counts()
        self.waiting = asyncio.Semaphore(0)
        """To be acquired by who has the newest frame answered; free while there is one and nobody has."""
        self._mask_format = mask_format
        self._max_pixels = max_pixels
        self._deliver = deliver
        self._specification = loaded.version.manifest.specification
        self._smoother = Smoother(self._specification.post_processing)
        self._newest: _Arrived | None = None
        self._before: tuple[LabelMap, LabelMap] | None = None
        self._lock = Lock()
        self._begun = self._done = 0
        self._turn = Condition()

    def put(self, frame: FrameMessage) -> bool:
        """Takes a frame; whether an older one had to go. For the event loop's thread."""
        with self._lock:
            replaces = self._newest is not None
            self._newest = _Arrived(frame, time.perf_counter())
        self.counts.received += 1
        self.counts.dropped += replaces
        if not replaces:
            self.waiting.release()
        return replaces

    def work(self, worker: int) -> None:
        """Answers the newest frame, if there is one. For the thread of a worker.

        Raises:
            ImageError: The frame cannot be used.
            FrameMalformed: It is not what its header says.
        """
        with self._lock:
            arrived, self._newest = self._newest, None
            if arrived is None:
                return
            number = self._begun
            self._begun += 1
        try:
            image = arrived.frame.decode(self._max_pixels)
            tensor = to_input(image, self._specification.input)
            probability_map = self.loaded.predictors[worker].run(tensor)
        except BaseException:
            self._in_turn(number, lambda: None)
            raise

        def answer() -> None:
            steadied = self._smoother.step(tensor, probability_map, arrived.at_s)
            raw = to_label_map(probability_map, self._specification.post_processing)
            self._count_changes(steadied, raw)
            self._answer(arrived, steadied, raw)

        self._in_turn(number, answer)

    def _in_turn(self, number: int, work: Callable[[], None]) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._done == number)
            try:
                work()
            finally:
                self._done += 1
                self._turn.notify_all()

    def _count_changes(self, steadied: Steadied, raw: LabelMap) -> None:
        if self._before and not steadied.is_cut:
            shown_before, raw_before = self._before
            self.counts.changed_shown += int(np.count_nonzero(shown_before.array != steadied.label_map.array))
            self.counts.changed_raw += int(np.count_nonzero(raw_before.array != raw.array))
        self._before = steadied.label_map, raw

    def _answer(self, arrived: _Arrived, steadied: Steadied, raw: LabelMap) -> None:
        shown = steadied.label_map
        classes = self._specification.classes
        mask = _encoded(shown, classes, self._mask_format)
        raw_mask = mask if np.array_equal(shown.array, raw.array) else _encoded(raw, classes, self._mask_format)
        latency_ms = 1000 * (time.perf_counter() - arrived.at_s)
        summary = {
            "classes": _areas(shown, raw, classes),
            "is_cut": steadied.is_cut,
            "is_still": steadied.is_still,
            "latency_ms": round(latency_ms, 1),
        }
        parts = json.dumps(summary, separators=(",", ":")).encode(), mask, raw_mask
        self.counts.latencies_ms.append(latency_ms)
        self._deliver(answer_message(arrived.frame, self._mask_format, parts))


def _areas(shown: LabelMap, raw: LabelMap, classes: tuple[ClassSpecification, ...]) -> list[dict[str, object]]:
    pixels, raw_pixels = (np.bincount(each.array.ravel(), minlength=len(classes)) for each in (shown, raw))
    return [
        {
            "number": each.number,
            "label": each.label,
            "pixels": int(pixels[each.number]),
            "fraction": round(int(pixels[each.number]) / shown.array.size, 6),
            "raw_pixels": int(raw_pixels[each.number]),
        }
        for each in classes[1:]
    ]


def _encoded(label_map: LabelMap, classes: tuple[ClassSpecification, ...], kind: MaskFormat) -> bytes:
    if kind is MaskFormat.PNG:
        return palette_png(label_map, classes)
    masks = [{"number": each.number, "rle": encode(label_map.mask(each.number))} for each in classes[1:]]
    return json.dumps(masks, separators=(",", ":")).encode()
