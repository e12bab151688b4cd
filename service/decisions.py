"""The use case: somebody decides which version an alias names."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import EllipsisType

from model_store.errors import DigestMismatch, NothingToRollBack
from model_store.loading import LoadedVersion
from model_store.promotions import Promotion, check_current, standing
from service.errors import QueueFull
from service.history import History
from service.versions import Versions

_LOG = logging.getLogger("service.decisions")


@dataclass(frozen=True, slots=True)
class Change:
    """Whose alias is to name another version, and why."""

    model: str
    alias: str
    expected_current: int | None
    """What it names until now: if that is not so, somebody was faster."""
    by: str
    why: str


class Decisions:
    """Records decisions in the store, and has them followed here before they are answered."""

    def __init__(self, history: History, versions: Versions) -> None:
        self.versions = versions
        self._history = history

    async def promote(self, change: Change, version: int) -> Promotion:
        """Makes an alias name a version, on the record, once the version has proved itself here; then serves it.

        Raises:
            PromotionConflict: The alias names something else than expected.
            PromotionRefused: The gate refuses it.
            PromotionInvalid: The alias or the reason cannot be.
            ModelStoreError, EFSNetError, ServiceError: The version cannot be loaded; nothing is recorded.
        """
        # Before anything is loaded: who was too late is told so at once.
        await asyncio.to_thread(self._seen, change, change.expected_current)
        loaded = await self.versions.get(change.model, str(version), decided=True)
        await asyncio.to_thread(self._still_there, loaded)
        promote = self._history.store.promote

        def record() -> Promotion:
            return promote(
                *(change.model, change.alias, version),
                by=change.by,
                why=change.why,
                expected_current=change.expected_current,
            )

        return await self._recorded(change, record)

    async def roll_back(self, change: Change) -> Promotion:
        """Undoes the newest promotion of an alias, on the record; then serves the version before, which stayed warm.

        Raises:
            PromotionConflict: The alias names something else than expected.
            NothingToRollBack: It has named no version before.
            PromotionInvalid: The reason cannot be.
            ModelStoreError, EFSNetError, ServiceError: The version cannot be loaded; nothing is recorded.
        """
        before = await asyncio.to_thread(self._before, change)
        loaded = await self.versions.get(change.model, before, decided=True)
        await asyncio.to_thread(self._still_there, loaded)
        return await self._recorded(change, lambda: self._undone(change, self._history.store.rollback))

    async def withdraw(self, change: Change) -> Promotion:
        """Ends an alias, on the record, and no longer serves it.

        Raises:
            AliasUnknown: It names nothing.
            PromotionConflict: It names something else than expected.
            PromotionInvalid: It is `production`, or the reason cannot be.
            ModelStoreError, ServiceError: The store cannot be used.
        """
        await asyncio.to_thread(self._seen, change, _expected(change))
        return await self._recorded(change, lambda: self._undone(change, self._history.store.withdraw))

    def _undone(self, change: Change, undo: Callable[..., Promotion]) -> Promotion:
        return undo(change.model, change.alias, by=change.by, why=change.why, expected_current=_expected(change))

    def _still_there(self, loaded: LoadedVersion) -> None:
        """Raises DigestMismatch if the version on the disk is not the one that has proved itself."""
        version = loaded.version
        if self._history.store.version(version.name, str(version.number)).digest != version.digest:
            raise DigestMismatch(f"{version} was exchanged since it was loaded: verify the store.")

    def _seen(self, change: Change, expected: int | EllipsisType | None) -> list[Promotion]:
        """The promotions of the alias, which names what is expected. Nothing is added to a store that was set back."""
        self.versions.check_name(change.model)
        left = standing(self._history.promotions(change.model), change.alias)
        check_current(change.alias, left, expected)
        return left

    def _before(self, change: Change) -> str:
        left = self._seen(change, _expected(change))
        if len(left) < 2:
            raise NothingToRollBack(f"{change.alias} of {change.model} has named no version before this one.")
        return str(left[-2].version)

    async def _recorded(self, change: Change, record: Callable[[], Promotion]) -> Promotion:
        promotion = await asyncio.to_thread(record)
        _LOG.info(
            "recorded=%d model=%s alias=%s version=%d action=%s by=%s",
            *(promotion.number, change.model, promotion.alias, promotion.version, promotion.action, promotion.by),
        )
        with suppress(QueueFull):  # the service ends, and follows when it starts again
            await self.versions.follow()
        return promotion


def _expected(change: Change) -> int | EllipsisType:
    """Of what undoes a promotion: where nothing is named yet, nothing can be undone."""
    return ... if change.expected_current is None else change.expected_current
