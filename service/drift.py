"""Drift without references: how far a hospital's images and answers lie from those on which a version was measured."""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from threading import Lock

from efsnet.measurement import ClassArea
from model_store.baseline import Baseline, Distribution
from model_store.digest import Digest
from model_store.version import Version
from service.metrics import Metrics

RECENT = 1000
"""Images whose measures count."""

FEWEST = 100
"""Below which nothing is said."""


TELL_EVERY = 20
"""Images between two looks at the indices: to reckon them takes longer than to take a measure."""


class Drift:
    """The last images beside the baseline of one version, measure by measure."""

    def __init__(self, baseline: Baseline) -> None:
        self._expected: dict[tuple[str, str], Distribution] = {("brightness", ""): baseline.brightness}
        self._expected |= {("class_fraction", label): each for label, each in baseline.class_fraction.items()}
        self._expected |= {("mask_confidence", label): each for label, each in baseline.mask_confidence.items()}
        self._bins: dict[tuple[str, str], deque[int]] = {key: deque(maxlen=RECENT) for key in self._expected}
        self._lock = Lock()

    def observe(self, measure: str, label: str, value: float) -> None:
        """Takes a measure of an image; one that the baseline does not have is passed over."""
        if expected := self._expected.get((measure, label)):
            with self._lock:
                self._bins[measure, label].append(min(bisect_left(expected.edges, value), len(expected.edges) - 1))

    def indices(self) -> dict[tuple[str, str], float]:
        """Population stability index of each measure and class of which there are images enough."""
        with self._lock:
            counted = {key: Counter(bins) for key, bins in self._bins.items() if len(bins) >= FEWEST}
        return {key: _index(self._expected[key].shares, counts) for key, counts in counted.items()}


class Drifts:
    """The drift of each version that has a baseline, as Prometheus is told it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._of: dict[Digest, Drift] = {}
        self._seen: Counter[Digest] = Counter()

    def take(self, version: Version, brightness: float, areas: Sequence[ClassArea]) -> None:
        """Takes what was measured of an image."""
        baseline = version.manifest.baseline
        if baseline is None:
            return
        drift = self._of.setdefault(version.digest, Drift(baseline))
        drift.observe("brightness", "", brightness)
        for area in areas:
            drift.observe("class_fraction", area.label, area.fraction)
            if area.mean_confidence is not None:
                drift.observe("mask_confidence", area.label, area.mean_confidence)
        self._seen[version.digest] += 1
        if self._seen[version.digest] % TELL_EVERY == 0:
            for (measure, label), index in drift.indices().items():
                self._metrics.drift.labels(measure, label, version.name, str(version.number)).set(index)


def _index(expected: Sequence[float], counts: Counter[int]) -> float:
    """The sum of (p - q) ln(p / q) over the bins, p here and q there.

    Half an image is added to each bin on both sides, as if there had been as many: an empty bin is no proof.
    """
    number = counts.total()
    total = number + 0.5 * len(expected)
    here = [(counts[place] + 0.5) / total for place in range(len(expected))]
    there = [(share * number + 0.5) / total for share in expected]
    return sum((p - q) * math.log(p / q) for p, q in zip(here, there, strict=True))
