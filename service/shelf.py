"""Versions in memory: those that answer for an alias, and as many others as there is room for."""

from collections import OrderedDict
from threading import Lock

from model_store.digest import Digest
from model_store.loading import LoadedVersion
from service.metrics import Metrics


class Shelf:
    """Keeps what answers for an alias, what a rollback would go back to, and of the rest what was asked for last.

    Args:
        metrics: To be told.
        others: How many versions are kept beside those that answer for an alias.
    """

    def __init__(self, metrics: Metrics, *, others: int) -> None:
        self._metrics = metrics
        self._capacity = others
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

    def put(self, loaded: LoadedVersion) -> None:
        """Keeps a version, in the place of the one that was not asked for longest."""
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
            self._tell()

    def drop(self, alias: str) -> None:
        """Lets nothing answer for an alias any more."""
        with self._lock:
            if before := self._serving.pop(alias, None):
                self._put(before)
            self._tell()

    def _put(self, loaded: LoadedVersion) -> None:
        if any(serving.version.digest == loaded.version.digest for serving in self._serving.values()):
            return
        self._others[loaded.version.digest] = loaded
        for digest in tuple(self._others):
            if len(self._others) > self._capacity and digest != self._to_go_back_to:
                del self._others[digest]

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
