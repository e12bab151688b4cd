"""Versions in memory: those that answer for an alias, and as many others as there is room for."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from model_store.digest import Digest
from model_store.loading import LoadedVersion
from model_store.store import PRODUCTION
from model_store.version import Version
from service.errors import VersionTooLarge
from service.metrics import Metrics

ROOM_FOR = 2
"""Versions like production's that have room beside it, where no budget is set."""

_LOG = logging.getLogger("service.versions")


class Shelf:
    """Keeps what answers for an alias, what a rollback would go back to, and of the rest what was asked for last.

    Args:
        metrics: To be told.
        cost_bytes: Memory that a version takes.
        budget_bytes: For versions beside those that answer for an alias; None: as much as two like production's take.
    """

    def __init__(self, metrics: Metrics, cost_bytes: Callable[[Version], int], budget_bytes: int | None) -> None:
        self._metrics = metrics
        self._cost_bytes = cost_bytes
        self._budget_bytes = budget_bytes
        self._lock = Lock()
        self._serving: dict[str, LoadedVersion] = {}
        self._others: OrderedDict[Digest, LoadedVersion] = OrderedDict()
        self._to_go_back_to: Digest | None = None
        self._told: set[tuple[str, ...]] = set()

    @property
    def loaded(self) -> tuple[LoadedVersion, ...]:
        """All of them."""
        with self._lock:
            found = (*self._serving.values(), *self._others.values())
        return tuple({loaded.version.digest: loaded for loaded in found}.values())

    def serving(self, alias: str) -> LoadedVersion | None:
        """What answers for an alias."""
        return self._serving.get(alias)

    def get(self, digest: Digest) -> LoadedVersion | None:
        """The version of this digest, if it is here; it then stays here longer than those not asked for."""
        with self._lock:
            if digest in self._others:
                self._others.move_to_end(digest)
        return next((loaded for loaded in self.loaded if loaded.version.digest == digest), None)

    def check_room(self, version: Version) -> None:
        """Raises VersionTooLarge if a version has no room, with all given up but what a rollback goes back to."""
        cost, budget = self._cost_bytes(version), self._budget(version)
        kept = self._others.get(self._to_go_back_to) if self._to_go_back_to else None
        rest = budget - (self._cost_bytes(kept.version) if kept else 0)
        if cost > rest:
            beside = f", of which {kept.version}, for a rollback, takes {_mb(budget - rest)}" if kept else ""
            raise VersionTooLarge(
                f"{version} takes {_mb(cost)} of memory, and versions beside production have {_mb(budget)}{beside}: "
                "promote it, or set EFSNET_LOADED_MB higher."
            )

    def put(self, loaded: LoadedVersion) -> None:
        """Keeps a version, in the place of those that were not asked for longest."""
        with self._lock:
            self._put(loaded)
            self._tell()

    def serve(self, alias: str, loaded: LoadedVersion, *, to_go_back_to: Digest | None = None) -> None:
        """Lets a version answer for an alias from now on. The one before is kept, for a rollback and its last requests.

        Args:
            alias: Of the default model.
            loaded: The version.
            to_go_back_to: Digest of the version that a rollback would bring back.
        """
        with self._lock:
            before = self._serving.get(alias)
            self._serving[alias] = loaded
            self._others.pop(loaded.version.digest, None)
            self._to_go_back_to = to_go_back_to or self._to_go_back_to
            if before:
                self._put(before)
                self._keep_within(before.version)
            self._tell()

    def drop(self, alias: str) -> None:
        """Lets nothing answer for an alias any more."""
        with self._lock:
            if before := self._serving.pop(alias, None):
                self._put(before)
            self._tell()

    def _budget(self, version: Version) -> int:
        if self._budget_bytes is not None:
            return self._budget_bytes
        production = self._serving.get(PRODUCTION)
        return ROOM_FOR * self._cost_bytes(production.version if production else version)

    def _taken(self) -> int:
        return sum(self._cost_bytes(other.version) for other in self._others.values())

    def _put(self, loaded: LoadedVersion) -> None:
        new = loaded.version.digest
        if any(serving.version.digest == new for serving in self._serving.values()):
            return
        self._others[new] = loaded
        for digest in tuple(self._others):
            if self._taken() > self._budget(loaded.version) and digest not in (new, self._to_go_back_to):
                del self._others[digest]

    def _keep_within(self, version: Version) -> None:
        """What is promoted has room in any case; what it replaces has not."""
        if version.digest in self._others and self._taken() > self._budget(version):
            del self._others[version.digest]
            _LOG.warning(
                "%s is not kept: it takes %s, and EFSNET_LOADED_MB is too low for it; a rollback loads it anew",
                *(version, _mb(self._cost_bytes(version))),
            )

    def _tell(self) -> None:
        aliases = {loaded.version.digest: alias for alias, loaded in reversed(self._serving.items())}
        found = {loaded.version.digest: loaded for loaded in (*self._serving.values(), *self._others.values())}
        told = {_labels(loaded, aliases.get(digest, "")) for digest, loaded in found.items()}
        for labels in told:
            self._metrics.model_info.labels(*labels).set(1)
        for labels in self._told - told:
            self._metrics.model_info.remove(*labels)
        self._told = told


def _labels(loaded: LoadedVersion, alias: str) -> tuple[str, ...]:
    version, engine = loaded.version, loaded.predictor.engine
    signer = loaded.signature.signer if loaded.signature else ""
    return version.name, str(version.number), str(version.digest), alias, engine.name, engine.precision, signer


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
