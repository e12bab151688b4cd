"""The use case: which versions can be asked for, and those that are in memory, verified and ready."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from efsnet.errors import EFSNetError
from model_store.errors import AliasUnknown, ModelStoreError, ModelUnknown, VersionUnknown
from model_store.loading import LoadedVersion
from model_store.promotions import Promotion, standing
from model_store.seeding import seed
from model_store.store import PRODUCTION
from model_store.version import Version
from service.errors import ModelNotReady, SelfTestFailed, ServiceError
from service.history import History
from service.loads import Loader
from service.metrics import Metrics
from service.shelf import Shelf
from service.workers import WorkerPool

CANDIDATE = "candidate"
"""The alias whose version is tried beside production; see `shadow`."""

LOADS_WAITING = 8
"""Requests that may wait until a version is loaded that is not in memory."""

RETRY_S = 60.0
"""Time after which a version is tried again that could not be loaded, though nothing in the store has changed."""

_LOG = logging.getLogger("service.versions")


@dataclass(frozen=True, slots=True)
class Followed:
    """What is served as the store says, and changes with it."""

    model: str
    """The one that answers when a request names none."""
    aliases: tuple[str, ...] = (PRODUCTION,)


class Versions:
    """The versions that answer for an alias, changed as the store says, and others for requests that name them.

    A thread of its own loads them one after the other, so that what is loaded answers meanwhile; what was decided goes
    before what requests name. A request keeps the version that it was given, whatever is changed before it is answered.

    Args:
        history: Of the store.
        loader: Makes a version ready.
        shelf: Where those in memory are.
        metrics: To be told.
        followed: What answers when a request names no version.
    """

    def __init__(self, history: History, loader: Loader, shelf: Shelf, metrics: Metrics, followed: Followed) -> None:
        self.store = history.store
        self.model = followed.model
        self.aliases = followed.aliases
        self._history = history
        self._loader = loader
        self._metrics = metrics
        self._shelf = shelf
        self._pool = WorkerPool("loader", workers=1, capacity=LOADS_WAITING)
        self._troubles: dict[str, str] = {}
        self._outline: tuple[object, ...] | None = None  # none: it cannot be looked at
        self._detailed_outline: tuple[object, ...] | None = None
        self._tried_at_s = 0.0
        self.failed: LoadedVersion | None = None
        """What failed its last self-test."""

    @property
    def default(self) -> LoadedVersion:
        """The version that answers when a request names none.

        Raises:
            ModelNotReady: It is not loaded yet, or cannot be.
            SelfTestFailed: It failed its last self-test.
        """
        if (loaded := self.serving) is None:
            raise ModelNotReady(self._troubles.get(PRODUCTION, f"{self.model} is being loaded."))
        return self.sound(loaded)

    @property
    def serving(self) -> LoadedVersion | None:
        """The same, also if it failed its last self-test."""
        return self._shelf.serving(PRODUCTION)

    @property
    def candidate(self) -> LoadedVersion | None:
        """The version that is tried beside production, if it is followed, and another one."""
        loaded = self._shelf.serving(CANDIDATE)
        return None if loaded is self._shelf.serving(PRODUCTION) else loaded

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why what an alias names in the store is not served; another version may be."""
        return tuple(self._troubles.values())

    @property
    def loads_waiting(self) -> int:
        """Loads that wait for the one that runs: what was decided, and what requests name."""
        return self._pool.waiting

    @property
    def loaded(self) -> tuple[LoadedVersion, ...]:
        """The versions in memory."""
        return self._shelf.loaded

    async def start(self) -> None:
        """Loads what is followed. What keeps it from being loaded is logged and told by `default`, not raised."""
        await self.follow()

    async def watch(self, every_s: float) -> None:
        """Notices what changes in the store, until it is cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await asyncio.to_thread(self._is_changed):
                    await self.follow()
            except Exception:  # noqa: BLE001 - whatever it is, the next look may find it gone
                _LOG.exception("the store cannot be looked at")

    async def get(self, model: str | None, reference: str | None, *, decided: bool = False) -> LoadedVersion:
        """The version of these names, loaded if it is not; by default the default one.

        Args:
            model: Its name.
            reference: Number, alias or digest of the version.
            decided: It is to answer for an alias: it waits for no request, and needs no room beside what answers now.

        Raises:
            ModelNotReady: The default version is asked for, and not loaded.
            SelfTestFailed: It failed its last self-test.
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            QueueFull: Too many requests wait for versions to be loaded.
            VersionTooLarge: It takes more memory than versions may have that no alias names.
            IntegrityError: The version is damaged.
            StoreSetBack: The store lacks promotions that were seen.
        """
        name, reference = model or self.model, reference or PRODUCTION
        if loaded := self._at_hand(name, reference):
            return loaded

        def load(_: int) -> LoadedVersion:
            return self._load_other(self.find(name, reference), decided=decided)

        return await asyncio.wrap_future(self._pool.submit(load, urgent=decided))

    def sound(self, loaded: LoadedVersion) -> LoadedVersion:
        """The same: whatever name it was asked for by, and whoever holds it still.

        Raises:
            SelfTestFailed: It failed its last self-test.
        """
        if self.failed is loaded:
            raise SelfTestFailed(f"{loaded.version} does not give the label maps of its reference images any more.")
        return loaded

    async def expect(self, model: str | None, reference: str | None) -> Version:
        """What `get` of the same names would load, as things are: a slow upload must not keep a version in memory.

        Raises:
            ModelNotReady: The default version is asked for, and not loaded.
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            IntegrityError: Its manifest is damaged.
            StoreSetBack: The store lacks promotions that were seen.
        """
        name, reference = model or self.model, reference or PRODUCTION
        if loaded := self._at_hand(name, reference):
            return loaded.version
        return await asyncio.to_thread(self.find, name, reference)

    def find(self, name: str, reference: str) -> Version:
        """The published version of these names, from the disk.

        Raises:
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            IntegrityError: Its manifest is damaged.
            StoreSetBack: The store lacks promotions that were seen.
        """
        self.check_name(name)
        try:
            return self._history.version(name, reference)
        except (VersionUnknown, AliasUnknown) as error:
            known = (*map(str, self.store.numbers(name)), *self.store.aliases(name))
            raise VersionUnknown(f"The versions of {name} are: {', '.join(known)}; a digest names one too.") from error

    def named(self, name: str) -> Mapping[str, int]:
        """The number of the version that each alias of a model names; nothing is told of a store that was set back.

        Raises:
            ModelUnknown: There is no such model.
            ChainBroken: A promotion record is damaged.
            StoreSetBack: The store lacks promotions that were seen.
        """
        self._history.promotions(name)
        return self.store.aliases(name)

    def check_name(self, name: str) -> None:
        """Raises ModelUnknown, with the names that there are, if no model has this one."""
        names = self.store.names()
        if name not in names:
            raise ModelUnknown(f"The models are: {', '.join(names)}." if names else "No model is published yet.")

    def serves(self, promotion: Promotion, name: str) -> bool:
        """Whether requests are answered as this promotion says."""
        if name != self.model or promotion.alias not in self.aliases:
            return True  # it is looked up with each request
        loaded = self._shelf.serving(promotion.alias)
        if promotion.action == "withdraw":
            return loaded is None
        return loaded is not None and loaded.version.number == promotion.version

    def close(self) -> None:
        """Ends the loading thread."""
        self._pool.close()

    async def follow(self) -> None:
        """Serves what the aliases name in the store now. What keeps it from that is logged and told, not raised.

        Raises:
            QueueFull: The service ends.
        """
        await asyncio.wrap_future(self._pool.submit(lambda _: self._follow_now(), urgent=True))

    def _at_hand(self, name: str, reference: str) -> LoadedVersion | None:
        """The version of these names, if it is known without a look at the disk."""
        if (name, reference) == (self.model, PRODUCTION):
            return self.default
        for loaded in self.loaded:
            if loaded.version.name == name and reference in (str(loaded.version.number), str(loaded.version.digest)):
                return self.sound(self._shelf.get(loaded.version.digest) or loaded)
        return None

    def _is_changed(self) -> bool:
        if self._outlined() != self._outline:
            return True
        if not self._troubles:
            return False
        waited_s = time.monotonic() - self._tried_at_s
        return waited_s > RETRY_S or self._history.detailed_outline(self.model) != self._detailed_outline

    def _outlined(self) -> tuple[object, ...] | None:
        try:
            return self._history.outline(self.model)
        except ModelStoreError:
            return None  # whoever reads the store is told why

    def _follow_now(self) -> None:
        self._tried_at_s = time.monotonic()
        # Before anything is read: what comes later differs from it.
        self._outline = self._outlined()
        self._detailed_outline = self._history.detailed_outline(self.model)
        for alias in self.aliases:
            why = ""
            try:
                self._serve_newest(alias)
            except (ModelStoreError, EFSNetError, ServiceError) as error:
                why = str(error)
            except Exception:  # noqa: BLE001 - whatever it is, the process stays to tell
                _LOG.exception("%s of %s cannot be loaded", alias, self.model)
                why = "the log says why."
            self._tell_trouble(alias, why)

    def _tell_trouble(self, alias: str, why: str) -> None:
        self._metrics.model_stale.labels(alias).set(1 if why else 0)
        if not why:
            self._troubles.pop(alias, None)
            return
        serving = self._shelf.serving(alias)
        rest = f" {serving.version} goes on answering." if serving else ""
        trouble = f"{alias} of {self.model} cannot be loaded: {why}{rest}"
        if self._troubles.get(alias) != trouble:
            _LOG.error("not ready: %s" if serving is None else "not followed: %s", trouble)
        self._troubles[alias] = trouble

    def _serve_newest(self, alias: str) -> None:
        before = self._shelf.serving(alias)
        try:
            if self._shelf.serving(PRODUCTION) is None:
                seed(self.store.root)
            self.check_name(self.model)
            promotions = self._history.promotions(self.model)
            left = standing(promotions, alias)
            if not left and alias != PRODUCTION:
                if before:
                    self._metrics.model_promotions.labels(alias, "withdraw").inc()
                self._shelf.drop(alias)
                return
            found = (self._shelf.get(left[-1].digest) if left else None) or self.find(self.model, alias)
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        loaded = found if isinstance(found, LoadedVersion) else self._loader.load(found)
        to_go_back_to = left[-2].digest if alias == PRODUCTION and len(left) > 1 else None
        if loaded is not before:
            self._shelf.serve(alias, loaded, to_go_back_to=to_go_back_to)
            newest = next(each.action for each in reversed(promotions) if each.alias == alias)
            self._metrics.model_promotions.labels(alias, newest).inc()
            _LOG.info("serving model=%s alias=%s version=%d", self.model, alias, loaded.version.number)

    def _load_other(self, version: Version, *, decided: bool) -> LoadedVersion:
        if loaded := self._shelf.get(version.digest):
            return self.sound(loaded)
        if not decided and self._loader.knows(version):
            self._shelf.check_room(version)
        loaded = self._loader.load(version)
        if not decided:
            self._shelf.check_room(version)
        self._shelf.put(loaded)
        return loaded
