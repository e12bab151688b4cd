"""The history of a model's promotions in a registry, by which stores that share no folder follow one of them.

The records lie there as they are stored, all under one tag. Each holds the digest of the one before it, so that the
list of their digests tells which records a store lacks, and whether they continue its own.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Self

from pydantic import ValidationError

from model_store.copies.arrival import Order, arrive, checked
from model_store.copies.artifact import Listing, blob_of
from model_store.copies.registry import Registry
from model_store.digest import Digest
from model_store.errors import (
    CopyInvalid,
    HistoryDiffers,
    IntegrityError,
    ModelUnknown,
    PromotionsMissing,
    Unsigned,
    VersionTaken,
    VersionUnknown,
)
from model_store.manifest import explained
from model_store.promotions import RECORD_MAX_BYTES, Promotion, continued, standing
from model_store.store import ModelStore

TAG = "promotions"
ARTIFACT_TYPE: Final = "application/vnd.efsnet.promotions.v1"
RECORD_TYPE: Final = "application/vnd.efsnet.promotion.v1+json"

RECORDS_MAX = 10_000
HISTORY_MAX_BYTES = 50_000_000
"""Of all records together, which are held in memory on their way."""


class History(Listing):
    """How the records of one model are listed: oldest first, and the newest as the configuration, too."""

    artifact_type: str | None = ARTIFACT_TYPE

    @classmethod
    def of(cls, contents: Sequence[bytes]) -> Self:
        """The list of these records, of which there is one at least.

        Raises:
            CopyInvalid: They are too many or too large.
        """
        records = tuple(blob_of(f"{number:06d}.json", each, RECORD_TYPE) for number, each in enumerate(contents, 1))
        return cls(config=records[-1], layers=records).bounded()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """The list that a registry holds; nothing is known of the records themselves.

        Raises:
            CopyInvalid: It is none, or they are too many or too large.
        """
        try:
            listed = cls.model_validate_json(text)
        except ValidationError as error:
            raise CopyInvalid(f"There is no history of promotions: {explained(error)}.") from error
        if listed.artifact_type != ARTIFACT_TYPE or listed.digests[-1:] != (listed.config.digest,):
            raise CopyInvalid("There is no history of promotions.")
        return listed.bounded()

    def bounded(self) -> Self:
        """The same list, if it is one that is followed.

        Raises:
            CopyInvalid: The records are too many or too large.
        """
        records = self.layers
        if len(records) > RECORDS_MAX or sum(record.size for record in records) > HISTORY_MAX_BYTES:
            raise CopyInvalid(f"A history has {RECORDS_MAX} records and {HISTORY_MAX_BYTES} bytes at most.")
        if max(record.size for record in records) > RECORD_MAX_BYTES:
            raise CopyInvalid(f"A record has {RECORD_MAX_BYTES} bytes at most.")
        return self

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Of the records, oldest first."""
        return tuple(record.digest for record in self.layers)


def announce(store: ModelStore, name: str, registry: Registry) -> int:
    """Brings all promotion records of a model to the registry, and returns how many it lacked.

    The tag is written last: who follows never sees a part. Two who announce at the same moment are not kept apart by
    a registry.

    Raises:
        PromotionsMissing: There are none.
        VersionUnknown, VersionTaken: A version that an alias names now is not in the registry, or another one is.
        HistoryDiffers: The records there do not begin the store's own.
        IntegrityError: A promotion record is damaged.
        CopyInvalid: There is something else in the registry, or too many records here.
        RegistryUnusable: The registry cannot be reached, or refuses.
    """
    log = store.log(name)
    contents = log.contents()
    if not contents:
        raise PromotionsMissing(f"{store.root} has no promotions of {name} to announce.")
    own, there = History.of([*contents.values()]), _announced(registry)
    known = there.digests if there else ()
    if own.digests[: len(known)] != known:
        raise _differing(store, name, own.digests, registry, known)
    for promotion in _named([record.promotion for record in continued((), contents.values())]):
        artifact = registry.artifact(promotion.version)
        if artifact is None:
            raise VersionUnknown(
                f"{registry.repository} has no version {promotion.version}, which {promotion.alias} names: "
                f"`push {promotion.version}` first."
            )
        if artifact.config.digest != promotion.digest:
            raise VersionTaken(
                f"{registry.repository}:{promotion.version} is {artifact.config.digest}; "
                f"{promotion.alias} names {promotion.digest}. Nothing was changed."
            )
    for path, record in zip(contents, own.layers, strict=True):
        registry.upload(log.folder / path, record)
    registry.tag(TAG, own)
    return len(own.layers) - len(known)


def follow(store: ModelStore, registry: Registry, order: Order) -> tuple[Promotion, ...]:
    """Takes what was announced and the store lacks, and returns the promotions that are new.

    First each version that an alias names now, as `arrive` takes it, then the records, one after the other. What
    begins otherwise than the store's own records is not followed, and nothing is ever taken away.

    Args:
        store: That follows; it may be empty.
        registry: Where the promotions are announced. Its word is not taken for anything.
        order: Which model, and who must have signed its versions.

    Raises:
        PromotionsMissing: None are announced.
        HistoryDiffers: They do not continue the store's own.
        CopyInvalid: There is something else in the registry, or another model's version.
        VersionUnknown, VersionTaken: The registry lacks a version, or the store has another of this number.
        IntegrityError: A record or a version is damaged, does not follow, or is not signed as ordered.
        RegistryUnusable: The registry cannot be reached, or refuses.
        StoreUnusable: The store cannot be written to.
    """
    there = _announced(registry)
    if there is None:
        raise PromotionsMissing(f"{registry.repository} has no promotions to follow: they are to be announced first.")
    log = store.log(order.name)
    seen = log.records()
    known = tuple(record.digest for record in seen)
    if there.digests[: len(known)] != known:
        raise _differing(store, order.name, known, registry, there.digests)
    missing = there.layers[len(seen) :]
    try:
        contents = [registry.download(f"record {number}", blob) for number, blob in enumerate(missing, len(seen) + 1)]
        promotions = [record.promotion for record in continued(seen, contents)]
    except IntegrityError as error:
        raise type(error)(f"{registry.repository}:{TAG}: {error}") from error
    for promotion in _named(promotions):
        if missing or promotion.version not in store.numbers(order.name):
            _bring(store, promotion, registry, order)
    with _undisturbed():
        added = log.extend(len(seen), contents)
    return tuple(promotions[len(seen) :][:added])


def _announced(registry: Registry) -> History | None:
    text = registry.listing(TAG)
    try:
        return History.parse(text) if text is not None else None
    except CopyInvalid as error:
        raise CopyInvalid(f"{registry.repository}:{TAG}: {error}") from error


def _named(promotions: Sequence[Promotion]) -> Iterator[Promotion]:
    """Those by which aliases name what they name now."""
    for alias in dict.fromkeys(promotion.alias for promotion in promotions):
        yield from standing(promotions, alias)[-1:]


def _bring(store: ModelStore, promotion: Promotion, registry: Registry, order: Order) -> None:
    """Sees to it that the version which is promoted is in the store, whole, and as ordered."""
    exact = replace(order, digest=promotion.digest)
    try:
        checked(store.version(order.name, str(promotion.version)), exact)
    except (ModelUnknown, VersionUnknown, Unsigned):
        arrive(store, registry.pull(promotion.version), exact)


def _differing(
    store: ModelStore, name: str, own: Sequence[Digest], registry: Registry, there: Sequence[Digest]
) -> HistoryDiffers:
    here, elsewhere = f"{store.root}", f"{registry.repository}:{TAG}"
    for number, (one, other) in enumerate(zip(own, there, strict=False), 1):
        if one != other:
            return HistoryDiffers(
                f"Promotion record {number} of {name} is {one.short} in {here} and {other.short} at {elsewhere}: they "
                f"were promoted apart from each other. Nothing was changed."
            )
    return HistoryDiffers(
        f"{name} has {len(own)} promotion records in {here}, and {len(there)} at {elsewhere}. Nothing was changed."
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Who is asked to end does so behind it, and not between two records.

    By the first an alias may name a version that the store lacks, since it names another one by the second.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
