"""The use case: which versions can be asked for, and those that are in memory, verified and ready."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from efsnet.errors import EFSNetError
from model_store.digest import Digest
from model_store.errors import AliasUnknown, ModelStoreError, ModelUnknown, VersionUnknown
from model_store.loading import LoadedVersion
from model_store.seeding import seed
from model_store.store import ModelStore
from model_store.version import Version
from service.errors import ModelNotReady
from service.metrics import Metrics
from service.workers import WorkerPool

PRODUCTION = "production"
"""The alias whose version answers when a request names none."""

LOADS_WAITING = 8
"""Requests that may wait until a version is loaded that is not in memory."""

Load = Callable[[Version], LoadedVersion]

_LOG = logging.getLogger("service.versions")


class Versions:
    """The default version, loaded at start and kept, and the others, loaded when asked for and kept while asked for.

    A thread of its own loads them one after the other, so that the default version answers meanwhile.
    """

    def __init__(self, store: ModelStore, load: Load, metrics: Metrics, *, model: str, others: int) -> None:
        self.store = store
        self.model = model
        self._load = load
        self._metrics = metrics
        self._capacity = others
        self._others: OrderedDict[Digest, LoadedVersion] = OrderedDict()
        self._lock = Lock()
        self._loader = WorkerPool("loader", workers=1, capacity=LOADS_WAITING)
        self._default: LoadedVersion | None = None
        self._not_ready = f"{model} is being loaded."

    @property
    def default(self) -> LoadedVersion:
        """The version that answers when a request names none.

        Raises:
            ModelNotReady: It is not loaded yet, or cannot be.
        """
        if self._default is None:
            raise ModelNotReady(self._not_ready)
        return self._default

    @property
    def loaded(self) -> tuple[LoadedVersion, ...]:
        """The versions in memory."""
        with self._lock:
            others = tuple(self._others.values())
        return others if self._default is None else (self._default, *others)

    async def start(self) -> None:
        """Loads the default version. What keeps it from being loaded is logged and told by `default`, not raised."""
        try:
            self._default = await asyncio.wrap_future(self._loader.submit(lambda _: self._load_default()))
        except (ModelStoreError, EFSNetError) as error:
            self._not_ready = f"{PRODUCTION} of {self.model} cannot be loaded: {error}"
            _LOG.error("not ready: %s", self._not_ready)
        except Exception:  # noqa: BLE001 - whatever it is, the process stays to tell
            self._not_ready = f"{PRODUCTION} of {self.model} cannot be loaded: the log says why."
            _LOG.exception("not ready: %s of %s cannot be loaded", PRODUCTION, self.model)

    async def get(self, model: str | None, reference: str | None) -> LoadedVersion:
        """The version of these names, loaded if it is not; by default the default one.

        Raises:
            ModelNotReady: The default version is asked for, and not loaded.
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            QueueFull: Too many requests wait for versions to be loaded.
            IntegrityError: The version is damaged.
        """
        name, reference = model or self.model, reference or PRODUCTION
        if (name, reference) == (self.model, PRODUCTION):
            return self.default
        for loaded in self.loaded:
            if loaded.version.name == name and reference in (str(loaded.version.number), str(loaded.version.digest)):
                return self._used(loaded)
        return await asyncio.wrap_future(self._loader.submit(lambda _: self._load_other(self.find(name, reference))))

    def find(self, name: str, reference: str) -> Version:
        """The published version of these names, from the disk.

        Raises:
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            IntegrityError: Its manifest is damaged.
        """
        self.check_name(name)
        try:
            return self.store.version(name, reference)
        except (VersionUnknown, AliasUnknown) as error:
            known = (*map(str, self.store.numbers(name)), *self.store.aliases(name))
            raise VersionUnknown(f"The versions of {name} are: {', '.join(known)}; a digest names one too.") from error

    def check_name(self, name: str) -> None:
        """Raises ModelUnknown, with the names that there are, if no model has this one."""
        names = self.store.names()
        if name not in names:
            raise ModelUnknown(f"The models are: {', '.join(names)}." if names else "No model is published yet.")

    def close(self) -> None:
        """Ends the loading thread."""
        self._loader.close()

    def _load_default(self) -> LoadedVersion:
        try:
            seed(self.store.root)
            version = self.find(self.model, PRODUCTION)
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        return self._loaded(version, PRODUCTION)

    def _load_other(self, version: Version) -> LoadedVersion:
        for loaded in self.loaded:
            if loaded.version.digest == version.digest:
                return self._used(loaded)
        loaded = self._loaded(version, "")
        with self._lock:
            self._others[version.digest] = loaded
            dropped = self._others.popitem(last=False)[1] if len(self._others) > self._capacity else None
        if dropped:
            self._metrics.model_info.remove(*_info(dropped, ""))
        return loaded

    def _used(self, loaded: LoadedVersion) -> LoadedVersion:
        with self._lock:
            if loaded.version.digest in self._others:
                self._others.move_to_end(loaded.version.digest)
        return loaded

    def _loaded(self, version: Version, alias: str) -> LoadedVersion:
        since = time.perf_counter()
        try:
            loaded = self._load(version)
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        duration_s = time.perf_counter() - since
        self._metrics.model_loads.labels("ok").inc()
        self._metrics.model_load_duration.observe(duration_s)
        self._metrics.model_info.labels(*_info(loaded, alias)).set(1)
        names = version.name, str(version.number)
        self._metrics.selftest_success.labels(*names).set_to_current_time()
        self._metrics.selftest_differing.labels(*names).set(_differing_pixels(loaded))
        _LOG.info(
            "loaded model=%s version=%d digest=%s engine=%s precision=%s differing_pixels=%d duration_s=%.2f",
            *(version.name, version.number, version.digest, loaded.predictor.engine.name),
            *(loaded.predictor.engine.precision,),
            *(_differing_pixels(loaded), duration_s),
        )
        return loaded


def _info(loaded: LoadedVersion, alias: str) -> tuple[str, ...]:
    version, engine = loaded.version, loaded.predictor.engine
    return version.name, str(version.number), str(version.digest), alias, engine.name, engine.precision


def _differing_pixels(loaded: LoadedVersion) -> int:
    return sum(image.differing_pixels for image in loaded.replay)
