"""Loading a version: how it went is told to metrics and log, and what memory it took is remembered."""

import logging
import time
from collections import deque
from collections.abc import Callable
from statistics import median_low

from model_store.loading import LoadedVersion
from model_store.version import Version
from service.memory import give_freed_back, resident_bytes
from service.metrics import Metrics

Load = Callable[[Version], LoadedVersion]

MEASURED = 5
"""Last loads of a kind of version from which its cost is taken."""

_LOG = logging.getLogger("service.versions")


class Loader:
    """Loads versions, and knows what memory each kind takes: versions of the same network and size take the same.

    A cost is what the process grew by, the median of the last loads: the first one also brings in the engine, and what
    other threads take and give back meanwhile is in each.

    Args:
        load: Verifies a version and makes it ready.
        metrics: To be told.
    """

    def __init__(self, load: Load, metrics: Metrics) -> None:
        self._load = load
        self._metrics = metrics
        self._grown: dict[object, deque[int]] = {}

    def cost_bytes(self, version: Version) -> int:
        """Memory that a version takes, as far as is known: 0 where none of its kind was loaded yet."""
        grown = self._grown.get(_kind(version))
        return median_low(grown) if grown else 0

    def knows(self, version: Version) -> bool:
        """Whether the cost can be relied on before the version is loaded: a single load may have been the first."""
        return len(self._grown.get(_kind(version), ())) > 1

    def load(self, version: Version) -> LoadedVersion:
        """The version, verified and ready.

        Raises:
            ModelStoreError, EFSNetError: It cannot be.
        """
        since = time.perf_counter()
        give_freed_back()
        before = resident_bytes()
        try:
            loaded = self._load(version)
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        duration_s = time.perf_counter() - since
        give_freed_back()
        least = sum(file.bytes for file in version.manifest.files.values())
        grown = self._grown.setdefault(_kind(version), deque(maxlen=MEASURED))
        grown.append(max(least, resident_bytes() - before))
        self._tell(loaded, duration_s)
        return loaded

    def _tell(self, loaded: LoadedVersion, duration_s: float) -> None:
        version, engine = loaded.version, loaded.predictor.engine
        differing = sum(image.differing_pixels for image in loaded.replay)
        self._metrics.model_loads.labels("ok").inc()
        self._metrics.model_load_duration.observe(duration_s)
        names = version.name, str(version.number)
        self._metrics.selftest_success.labels(*names).set_to_current_time()
        self._metrics.selftest_differing.labels(*names).set(differing)
        self._metrics.selftest_failed.labels(*names).set(0)
        _LOG.info(
            "loaded model=%s version=%d digest=%s engine=%s precision=%s signer=%s differing_pixels=%d "
            "duration_s=%.2f memory_mb=%.1f",
            *(version.name, version.number, version.digest, engine.name, engine.precision),
            *(loaded.signature or "none", differing, duration_s, self.cost_bytes(version) / 1e6),
        )
        if engine.passed_over:
            _LOG.warning(
                "engine=%s because %s is installed and does not work here: see the driver",
                *(engine.provider, " and ".join(engine.passed_over)),
            )
        if loaded.refused_precision:
            _LOG.warning(
                "%s computes in f32, not in %s: its manifest does not say that this leaves its masks as they are",
                *(version, loaded.refused_precision),
            )
        if loaded.doubt:
            _LOG.warning("%s", loaded.doubt)


def _kind(version: Version) -> object:
    manifest = version.manifest
    return manifest.network, manifest.specification.input
