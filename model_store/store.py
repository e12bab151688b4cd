"""A folder of models: `root/NAME/versions/NUMBER/`, `root/NAME/promotions/NUMBER.json`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Any

from pydantic import ValidationError

from model_store import files
from model_store.errors import (
    AliasUnknown,
    DigestMismatch,
    IntegrityError,
    ModelUnknown,
    NothingToRollBack,
    PromotionInvalid,
    PromotionRefused,
    VersionUnknown,
)
from model_store.gate import check
from model_store.manifest import MANIFEST, NAME_PATTERN, Draft, Manifest, explained
from model_store.promotions import REMARK_MAX_LENGTH, Decision, Promotion, PromotionLog, check_current, standing
from model_store.version import Version

PRODUCTION = "production"
"""The alias whose version answers when a request names none."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class ModelStore:
    """All that is published under a root, which need not exist before the first version is published."""

    root: Path
    _logs: dict[str, PromotionLog] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names(self) -> tuple[str, ...]:
        """Models that have a version."""
        found = (entry.name for entry in files.entries(self.root) if re.fullmatch(NAME_PATTERN, entry.name))
        return tuple(name for name in found if self.numbers(name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Numbers of a model's versions, damaged ones included, ascending."""
        found = (entry for entry in files.entries(self._versions(name)) if entry.is_dir(follow_symlinks=False))
        return tuple(sorted(int(entry.name) for entry in found if _NUMBER.fullmatch(entry.name)))

    def versions(self, name: str) -> tuple[Version, ...]:
        """A model's versions, ascending, but for those with a damaged manifest: `version` says what is wrong with them.

        Raises:
            ModelUnknown: There is no such model.
            ChainBroken: A promotion record is missing or was changed.
        """
        return tuple(self._undamaged(name, self.promotions(name)))

    def version(self, name: str, reference: str) -> Version:
        """The version that a number ("3"), an alias ("production") or a digest ("sha256:…", in full) names.

        Raises:
            ModelUnknown: There is no such model.
            VersionUnknown: It has no such version.
            AliasUnknown: It has no such alias.
            IntegrityError: The version's manifest, or a promotion record, is not what was published.
        """
        promotions = self.promotions(name)
        if _NUMBER.fullmatch(reference):
            return self._version(name, int(reference), promotions)
        if re.fullmatch(NAME_PATTERN, reference):
            if not (left := standing(promotions, reference)):
                raise AliasUnknown(f"{name} has no alias {reference!r}.")
            return self._version(name, left[-1].version, promotions)
        for version in self._undamaged(name, promotions):
            if str(version.digest) == reference:
                return version
        raise VersionUnknown(
            f"{name} has no version of this digest."
            if reference.startswith("sha256:")
            else "A version is named by its number, an alias, or sha256: and its digest in full."
        )

    def publish(self, name: str, draft: Draft, contents: Mapping[str, bytes]) -> Version:
        """A new version under the next free number: whole from when it is seen, and never changed again.

        Args:
            name: Of the model, old or new.
            draft: What its maker says of it.
            contents: Its files by their paths.

        Raises:
            DraftInvalid: The draft and the files do not make a version.
            StoreUnusable: The store cannot be written to.
        """
        manifest = Manifest.made(
            draft,
            name=name,
            version=self._next_number(name),
            created_at=datetime.now(UTC).replace(microsecond=0),
            files=contents,
        )
        with files.temporary(self.root) as folder:
            files.write_all(folder, {**contents, MANIFEST: str(manifest).encode()})
            while not files.move_exclusively(folder, target := self._versions(name) / str(manifest.version)):
                # Beyond the number that was taken, though a listing of before, given again on a network, may lack it.
                number = max(self._next_number(name), manifest.version + 1)
                manifest = manifest.model_copy(update={"version": number})
                files.remove(folder / MANIFEST)
                files.write_all(folder, {MANIFEST: str(manifest).encode()})
        return Version.at(target)

    def promotions(self, name: str) -> tuple[Promotion, ...]:
        """A model's promotion records, oldest first.

        Raises:
            ModelUnknown: There is no such model.
            ChainBroken: A record is missing or was changed.
        """
        if not self.numbers(name):
            raise ModelUnknown(f"The store has no model {name!r}.")
        return self.log(name).read()

    def log(self, name: str) -> PromotionLog:
        """The promotion records of a model, which may have none yet."""
        return self._logs.setdefault(name, PromotionLog(self._model(name) / "promotions"))

    def aliases(self, name: str) -> Mapping[str, int]:
        """The number of the version that each alias names.

        Raises:
            ModelUnknown: There is no such model.
            ChainBroken: A record is missing or was changed.
        """
        promotions = self.promotions(name)
        aliases = dict.fromkeys(promotion.alias for promotion in promotions)
        return {alias: left[-1].version for alias in aliases if (left := standing(promotions, alias))}

    def promote(  # noqa: PLR0913 (who, when and why: a promotion has so many facts)
        self,
        name: str,
        alias: str,
        version: int,
        *,
        by: str,
        why: str,
        expected_current: int | EllipsisType | None = ...,
        force_because: str | None = None,
    ) -> Promotion:
        """Makes an alias name a version, on the record. A damaged version is not promoted.

        Nor is one that `gate` refuses, whatever the alias, since requests can name each: beside what serves now, a
        version needs to have been measured, and not to be worse.

        Args:
            name: Of the model.
            alias: Such as "production".
            version: Number of the version.
            by: Who decided it.
            why: For what reason.
            expected_current: What the alias names until now, None for nothing; `...` if that does not matter.
            force_because: The reason to overrule the gate, put on the record with what the gate said.

        Raises:
            PromotionConflict: The alias names something else than expected.
            PromotionRefused: The gate refuses it: MetricsMissing or WorseThanProduction.
            PromotionInvalid: The alias is malformed, or `by` or `why` is empty.
            VersionUnknown: There is no such version.
            IntegrityError: The version or a promotion record is damaged.
        """

        def chosen(promotions: Sequence[Promotion]) -> dict[str, Any]:
            check_current(alias, standing(promotions, alias), expected_current)
            candidate = self._version(name, version, promotions)
            gated: dict[str, Any] = {}
            try:
                production, unreadable = self._production(name, promotions)
                gated["not_compared"] = check(candidate, production) or unreadable
            except PromotionRefused as refusal:
                if force_because is None:
                    raise
                gated["forced"] = {"because": force_because, "against": str(refusal)[:REMARK_MAX_LENGTH]}
            return {"action": "promote", **_intact(candidate), **gated}

        return self._decide(name, chosen, {"alias": alias, "by": by, "why": why})

    def rollback(
        self, name: str, alias: str, *, by: str, why: str, expected_current: int | EllipsisType = ...
    ) -> Promotion:
        """Undoes the newest promotion of an alias that is not undone yet, on the record.

        A second rollback undoes the promotion before it, and so on; what was rolled back from never comes back
        but by a promotion.

        Raises:
            PromotionConflict: The alias names something else than expected.
            NothingToRollBack: No promotion of the alias is left to undo.
            PromotionInvalid: `by` or `why` is empty.
            VersionUnknown: The version to go back to is gone.
            IntegrityError: The version to go back to, or a promotion record, is damaged.
        """

        def chosen(promotions: Sequence[Promotion]) -> dict[str, Any]:
            left = standing(promotions, alias)
            check_current(alias, left, expected_current)
            if len(left) < 2:
                raise NothingToRollBack(f"{alias} of {name} has named no version before this one.")
            return {"action": "rollback", **_intact(self._version(name, left[-2].version, promotions))}

        return self._decide(name, chosen, {"alias": alias, "by": by, "why": why})

    def withdraw(
        self, name: str, alias: str, *, by: str, why: str, expected_current: int | EllipsisType = ...
    ) -> Promotion:
        """Ends an alias, on the record: it names nothing until it is promoted anew. The version stays published.

        Raises:
            AliasUnknown: It names nothing now.
            PromotionConflict: It names something else than expected.
            PromotionInvalid: It is `production`, which only another version can replace; or `by` or `why` is empty.
            ChainBroken: A promotion record is damaged.
        """
        if alias == PRODUCTION:
            raise PromotionInvalid(f"{PRODUCTION} is not withdrawn: promote another version, or roll back.")

        def chosen(promotions: Sequence[Promotion]) -> dict[str, Any]:
            if not (left := standing(promotions, alias)):
                raise AliasUnknown(f"{name} has no alias {alias!r}.")
            check_current(alias, left, expected_current)
            return {"action": "withdraw", "version": left[-1].version, "digest": left[-1].digest}

        return self._decide(name, chosen, {"alias": alias, "by": by, "why": why})

    def _decide(
        self, name: str, choose: Callable[[Sequence[Promotion]], dict[str, Any]], remarks: Mapping[str, str]
    ) -> Promotion:
        while True:
            seen = self.promotions(name)
            chosen = choose(seen)
            try:
                decision = Decision.model_validate({**chosen, **remarks})
            except ValidationError as error:
                raise PromotionInvalid(f"This is no promotion: {explained(error)}.") from error
            if promotion := self.log(name).append(seen, decision):
                return promotion

    def _version(self, name: str, number: int, promotions: Sequence[Promotion]) -> Version:
        if number not in self.numbers(name):
            raise VersionUnknown(f"{name} has no version {number}.")
        version = Version.at(self._versions(name) / str(number))
        if any(promotion.version == number and promotion.digest != version.digest for promotion in promotions):
            raise DigestMismatch(f"{version}: {MANIFEST} is not what was promoted.")
        return version

    def _production(self, name: str, promotions: Sequence[Promotion]) -> tuple[Version | None, str | None]:
        """What serves now, to be compared with; if it is gone or damaged, that: then it must be replaced."""
        left = standing(promotions, PRODUCTION)
        try:
            return (self._version(name, left[-1].version, promotions), None) if left else (None, None)
        except (VersionUnknown, IntegrityError):
            return None, f"{name} {left[-1].version}, in production, is gone or damaged."

    def _undamaged(self, name: str, promotions: Sequence[Promotion]) -> Iterator[Version]:
        for number in self.numbers(name):
            try:
                yield self._version(name, number, promotions)
            except IntegrityError:
                continue

    def _next_number(self, name: str) -> int:
        """Beyond all that is or was there: files in the way count too, and versions that only records remember."""
        taken = [int(entry.name) for entry in files.entries(self._versions(name)) if _NUMBER.fullmatch(entry.name)]
        return max([0, *taken, *(promotion.version for promotion in self.log(name).read())]) + 1

    def _versions(self, name: str) -> Path:
        return self._model(name) / "versions"

    def _model(self, name: str) -> Path:
        if not re.fullmatch(NAME_PATTERN, name):
            raise ModelUnknown("A model's name is a letter, then letters, digits, '-' and '_', all in lower case.")
        return self.root / name


def _intact(version: Version) -> dict[str, Any]:
    """What a record says of a version, once every file of it was checked."""
    version.contents()
    return {"version": version.number, "digest": version.digest}
