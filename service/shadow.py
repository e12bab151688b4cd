"""The use case: a candidate sees a share of the live images beside production, so that a promotion rests on them.

Nobody waits for it and nothing of an image is kept: only counts, and how far the two agree.
"""

import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.preprocessing import to_input
from efsnet.specification import Specification
from model_store.loading import LoadedVersion
from model_store.version import Version
from service.errors import ModelNotReady, QueueFull
from service.metrics import Metrics
from service.segmentation import LARGE_PIXELS, Segmentation
from service.versions import Versions
from service.workers import WorkerPool

WAITING = 2
"""Images that may wait for the candidate; one more is dropped. Bounds the memory for them."""

LOWEST_PRIORITY = 19

_LOG = logging.getLogger("service.shadow")


@dataclass(slots=True)
class Agreement:
    """How far a candidate agrees with production, over all images that both saw."""

    production: Version
    candidate: Version
    images: int = 0
    dropped: int = 0
    """Images of the sample that were not looked at, because live work came first."""
    failed: int = 0
    without_lesion: int = 0
    """Images in which neither finds one, and which have no Dice for that reason."""
    dice_sum: float = 0.0
    dice_minimum: float | None = None
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Images by the class that most of the lesion has to production, and to the candidate."""
    infer_s: tuple[float, float] = (0.0, 0.0)
    """Time in the network of production, and of the candidate, in all."""

    @property
    def with_lesion(self) -> int:
        """Images in which one of them finds a lesion."""
        return self.images - self.without_lesion

    def is_of(self, production: Version, candidate: Version) -> bool:
        """Whether it compares these."""
        return (self.production.digest, self.candidate.digest) == (production.digest, candidate.digest)


class Shadow:
    """Compares the version of the alias `candidate` with production on a share of the live images.

    Its thread runs at the lowest priority, takes an image only while no live one waits, and has a predictor of its
    own: the last of those that the candidate was loaded with.
    """

    def __init__(self, versions: Versions, live: WorkerPool, metrics: Metrics, *, share: float) -> None:
        self.share = share
        self._versions = versions
        self._live = live
        self._metrics = metrics
        self._pool = WorkerPool("shadow", workers=1, capacity=WAITING)
        self._lock = threading.Lock()
        self._agreement: Agreement | None = None

    def offer(self, loaded: LoadedVersion, segmentation: Segmentation) -> None:
        """Takes an image that production has answered, or leaves it; costs its answer microseconds."""
        compared = self._compared()
        if compared is None or loaded is not compared[0] or random.random() >= self.share:  # noqa: S311 (a sample)
            return
        _, candidate = compared
        if not self._taken(lambda _: self._look(loaded, candidate, segmentation), segmentation.image):
            self._metrics.shadow_images.labels("dropped", *_compared_versions(loaded, candidate)).inc()
            with self._lock:
                self._of(loaded, candidate).dropped += 1

    def agreement(self) -> Agreement | None:
        """Of the candidate and the production version of now; nothing where there is no candidate."""
        compared = self._compared()
        if compared is None:
            return None
        with self._lock:
            found = self._of(*compared)
            return replace(found, classes=found.classes.copy())

    def close(self) -> None:
        """Ends the thread."""
        self._pool.close()

    def _compared(self) -> tuple[LoadedVersion, LoadedVersion] | None:
        """Production and the candidate, if there are both."""
        candidate = self._versions.candidate
        try:
            return None if candidate is None else (self._versions.default, candidate)
        except ModelNotReady:
            return None

    def _taken(self, work: Callable[[int], None], image: Image) -> bool:
        if self._live.waiting or image.rows * image.columns > LARGE_PIXELS:
            return False
        try:
            self._pool.submit(work)
        except QueueFull:
            return False
        return True

    def _of(self, production: LoadedVersion, candidate: LoadedVersion) -> Agreement:
        """The figures of these two; they begin anew when one of them changes."""
        if self._agreement is None or not self._agreement.is_of(production.version, candidate.version):
            self._agreement = Agreement(production.version, candidate.version)
        return self._agreement

    def _look(self, production: LoadedVersion, candidate: LoadedVersion, segmentation: Segmentation) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)  # there, of this thread alone
        try:
            self._compare(production, candidate, segmentation)
        except Exception as error:  # noqa: BLE001 - a candidate may fail in any way, and live work must not notice
            # Without its text, which may quote the image.
            _LOG.error("candidate=%s error=%s", candidate.version, type(error).__name__)
            self._metrics.shadow_images.labels("failed", *_compared_versions(production, candidate)).inc()
            with self._lock:
                if self._compared() == (production, candidate):
                    self._of(production, candidate).failed += 1

    def _compare(self, production: LoadedVersion, candidate: LoadedVersion, segmentation: Segmentation) -> None:
        specification = candidate.version.manifest.specification
        tensor = to_input(segmentation.image, specification.input)
        since = time.perf_counter()
        probability_map = candidate.predictors[-1].run(tensor)
        infer_s = segmentation.seconds["infer"], time.perf_counter() - since
        theirs = segmentation.label_map
        ours = to_grid(to_label_map(probability_map, specification.post_processing), theirs.rows, theirs.columns)
        dice = lesion_dice(theirs, ours)
        classes = main_class(theirs, production.version.manifest.specification), main_class(ours, specification)

        versions = _compared_versions(production, candidate)
        self._metrics.shadow_images.labels("compared", *versions).inc()
        self._metrics.shadow_classes.labels(*classes, *versions).inc()
        for role, seconds in zip(("production", "candidate"), infer_s, strict=True):
            self._metrics.shadow_infer.labels(role, *versions).observe(seconds)
        if dice is not None:
            self._metrics.shadow_dice.labels(*versions).observe(dice)
        with self._lock:
            if self._compared() != (production, candidate):
                return  # one of them was exchanged meanwhile
            agreement = self._of(production, candidate)
            agreement.images += 1
            agreement.classes[classes] += 1
            agreement.infer_s = agreement.infer_s[0] + infer_s[0], agreement.infer_s[1] + infer_s[1]
            if dice is None:
                agreement.without_lesion += 1
            else:
                agreement.dice_sum += dice
                agreement.dice_minimum = min(dice, 1.0 if agreement.dice_minimum is None else agreement.dice_minimum)


def _compared_versions(production: LoadedVersion, candidate: LoadedVersion) -> tuple[str, str, str]:
    """What the metrics are labelled with: model, version of production, version of the candidate."""
    version = production.version
    return version.name, str(version.number), str(candidate.version.number)


def lesion_dice(one: LabelMap, other: LabelMap) -> float | None:
    """Dice of all that is lesion in two label maps of one grid, whatever its class; None where neither has any.

    Source: Dice 1945: twice the common pixels, by the pixels of both.
    """
    first, second = one.array > 0, other.array > 0
    both = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / both if both else None


def main_class(label_map: LabelMap, specification: Specification) -> str:
    """Label of the class that most lesion pixels have; that of the background where there is no lesion."""
    counts = np.bincount(label_map.array.ravel(), minlength=len(specification.classes))
    number = 1 + int(counts[1:].argmax()) if counts[1:].any() else 0
    return specification.classes[number].label
