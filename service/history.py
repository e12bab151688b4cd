"""The promotions that the service follows: never fewer, and never others, than it has seen already."""

import os
from pathlib import Path
from threading import Lock

from pydantic import BaseModel, ConfigDict, ValidationError

from model_store import files
from model_store.promotions import Promotion
from model_store.store import ModelStore
from model_store.version import Version
from service import state
from service.errors import StateUnusable, StoreSetBack


class _Newest(BaseModel):
    """The newest promotion record that was seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    digest: str
    """Of the record as it was stored."""


class History:
    """The promotions of a store, held against the newest one seen of each model, which is kept outside of the store.

    Who puts an old copy of the store in its place, by accident or to bring back a version that was taken out of
    service, cannot change what is kept here.
    """

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self.store = store
        self._folder = folder
        self._seen: dict[str, _Newest] = {}
        self._lock = Lock()

    def promotions(self, name: str) -> tuple[Promotion, ...]:
        """A model's promotion records, oldest first.

        Raises:
            ModelUnknown: There is no such model.
            ChainBroken: A record is missing or was changed.
            StoreSetBack: They do not contain the newest one that was seen.
            StateUnusable: What was seen cannot be read or kept.
        """
        with self._lock:
            path = self._folder / f"{name}.json"
            # Before the records, so that what another service saw meanwhile is among them.
            seen = _higher(self._seen.get(name), _read(path))
            records = self.store.log(name).records()
            if seen and (len(records) < seen.number or str(records[seen.number - 1].digest) != seen.digest):
                raise StoreSetBack(
                    f"The store of {name} was set back or exchanged: promotion record {seen.number}, which was seen "
                    f"already, is not in it. Restore the store; if this is meant, delete {path}."
                )
            if records and (seen is None or seen.number < len(records)):
                seen = _Newest(number=len(records), digest=str(records[-1].digest))
                with state.writing(path):
                    # Services that share the folder never write less than another has seen.
                    if _higher(seen, _read(path)) is seen:
                        state.replace(path, seen.model_dump_json().encode())
            if seen:
                self._seen[name] = seen
        return tuple(record.promotion for record in records)

    def version(self, name: str, reference: str) -> Version:
        """The published version that a number, an alias or a digest names, in a store that was not set back.

        Raises:
            ModelUnknown, VersionUnknown, AliasUnknown: There is no such model, version or alias.
            IntegrityError: The version's manifest, or a promotion record, is damaged.
            StoreSetBack: The store lacks promotions that were seen.
            StateUnusable: What was seen cannot be read or kept.
        """
        self.promotions(name)
        return self.store.version(name, reference)

    def outline(self, name: str) -> tuple[object, ...]:
        """What differs whenever a promotion was added or the newest one changed; reads no file."""
        records = files.entries(self.store.root / name / "promotions")
        return (*(entry.name for entry in records), *(_status(entry.path) for entry in records[-1:]))

    def detailed_outline(self, name: str) -> tuple[object, ...]:
        """What differs whenever any file of the model was added, changed or made readable."""
        walked = sorted(os.walk(self.store.root / name))
        return tuple((path, _status(path)) for folder, _, names in walked for path in _paths(folder, names))


def _paths(folder: str, names: list[str]) -> list[str]:
    return [folder, *(os.path.join(folder, name) for name in sorted(names))]  # noqa: PTH118 (of os.walk, many times)


def _status(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 (likewise)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_ctime_ns


def _higher(one: _Newest | None, other: _Newest | None) -> _Newest | None:
    """The one with the higher number; of equal ones the first."""
    if one is None or other is None:
        return one or other
    return other if other.number > one.number else one


def _read(path: Path) -> _Newest | None:
    content = state.read(path)
    if content is None:
        return None
    try:
        return _Newest.model_validate_json(content)
    except ValidationError as error:
        raise StateUnusable(f"{path} is damaged: delete it, if the store is known to be the newest.") from error
