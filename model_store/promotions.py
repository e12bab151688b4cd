"""Who made an alias name a version, when and why: numbered records, each chained to the one before, never changed."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import EllipsisType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from efsnet.specification import Part
from model_store import files
from model_store.digest import Digest, DigestText
from model_store.errors import ChainBroken, DigestMismatch, PromotionConflict
from model_store.manifest import Moment, Name, Number, explained
from model_store.seal import sealed, unsealed

RECORD_MAX_BYTES = 50_000
SETTLED_S = 2.0
"""Age from which a record that looks unchanged is unchanged: of a younger one, the time of its last change may be too
coarse to tell."""
REMARK_MAX_LENGTH = 2000
_FILE_NAME = re.compile(r"([0-9]{6})\.json")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _one_line(text: str) -> str:
    if not text:
        raise ValueError("a name or a reason is not empty")
    if _CONTROL.search(text):
        raise ValueError("one line without control characters, which a terminal would obey")
    return text


Remark = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=REMARK_MAX_LENGTH), AfterValidator(_one_line)
]


class Forced(Part):
    """Why a promotion was made although the gate refused it."""

    because: Remark
    against: Remark
    """What the gate said."""


class Decision(Part):
    """That an alias shall name a version, or nothing any more."""

    action: Literal["promote", "rollback", "withdraw"]
    alias: Name
    version: Number
    """That the alias names from now on, or that `withdraw` takes from it."""
    digest: DigestText
    """Of the version."""
    by: Remark
    why: Remark
    forced: Forced | None = None
    """Only where the gate was overruled, and left out of other records."""
    not_compared: Remark | None = None
    """What the gate could not compare with production, and why; left out of records where there is nothing to say."""


class Promotion(Decision):
    """A decision on the record. `Promotion.parse(str(p)) == p` for every promotion."""

    number: Annotated[int, Field(ge=1, le=999_999)]
    at: Moment
    previous: DigestText | None
    """Of the record before this one; none in the first."""

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The promotion that this text writes.

        Raises:
            ChainBroken: It is none, or not the one that was written.
        """
        try:
            return cls.model_validate_json(unsealed(text))
        except ValidationError as error:
            raise ChainBroken(f"This is no promotion record: {explained(error)}.") from error
        except DigestMismatch as error:
            raise ChainBroken(str(error)) from error

    def __str__(self) -> str:
        absent = {name for name in ("forced", "not_compared") if getattr(self, name) is None}
        return sealed(self.model_dump_json(indent=2, exclude=absent) + "\n")


@dataclass(frozen=True, slots=True)
class Record:
    """A promotion, and the file that it was read from."""

    promotion: Promotion
    digest: Digest
    """Of the file."""
    status: tuple[int, ...] | None
    """Of the file, by which it is known that it has not changed; None if that would not tell."""


@dataclass(slots=True, eq=False)
class PromotionLog:
    """The records of one model.

    A record is read once, and again when its file is another or was changed since: however long the chain, to look at
    it again costs a look at the status of each file.
    """

    folder: Path
    settled_s: float = SETTLED_S
    _known: tuple[Record, ...] = field(default=(), init=False, repr=False)

    def read(self) -> tuple[Promotion, ...]:
        """All promotions, oldest first.

        Raises:
            ChainBroken: A record is missing or was changed.
        """
        return tuple(record.promotion for record in self.records())

    def contents(self) -> Mapping[str, bytes]:
        """All records as they are stored, by file name.

        Raises:
            ChainBroken: A record is missing or was changed.
        """
        return {self._path(each.number).name: self._content(each.number) for each in self.read()}

    def records(self) -> tuple[Record, ...]:
        """All promotions with the digests of their files, oldest first.

        Raises:
            ChainBroken: A record is missing or was changed.
        """
        # A listing may lack what was added meanwhile, and on a network an older one may be given again: it says only
        # that there are so many records at least, and each next one is asked for by its name.
        listed = [_FILE_NAME.fullmatch(entry.name) for entry in files.entries(self.folder)]
        newest = max((int(match[1]) for match in listed if match), default=0)
        found: list[Record] = []
        for number in count(1):
            if number > newest and not self._exists(number):
                break
            record = self._record(number)
            if not _follows(record.promotion, found):
                raise ChainBroken(f"{self._path(number)} does not follow from the record before it.")
            found.append(record)
        self._known = tuple(found)
        return self._known

    def append(self, seen: Sequence[Promotion], decision: Decision) -> Promotion | None:
        """The decision as the record after those seen, or None if somebody else wrote one meanwhile."""
        promotion = Promotion(
            **dict(decision),
            number=len(seen) + 1,
            at=datetime.now(UTC).replace(microsecond=0),
            previous=Digest.of(self._content(len(seen))) if seen else None,
        )
        written = files.create_exclusively(self._path(promotion.number), str(promotion).encode())
        return promotion if written else None

    def extend(self, count: int, contents: Sequence[bytes]) -> int:
        """Adds records that were made elsewhere after the first `count`, one by one, and returns how many it added.

        They have been found to follow. Where somebody else has written one meanwhile, that stays, and none is added
        behind it.
        """
        for added, content in enumerate(contents):
            if not files.create_exclusively(self._path(count + added + 1), content):
                return added
        return len(contents)

    def _record(self, number: int) -> Record:
        """The record of this number: the one that is known, where its file is still the same."""
        status = files.status(self._path(number))  # before the content: what changes meanwhile shows the next time
        known = self._known[number - 1 : number]
        if known and status is not None and known[0].status == status:
            return known[0]
        content = self._content(number)
        try:
            promotion = Promotion.parse(content)
        except ChainBroken as error:
            raise ChainBroken(f"{self._path(number)}: {error}") from error
        settled = status is not None and time.time() - max(status[-2:]) / 1e9 >= self.settled_s
        return Record(promotion, Digest.of(content), status if settled else None)

    def _exists(self, number: int) -> bool:
        return files.read(self._path(number), RECORD_MAX_BYTES) is not None

    def _content(self, number: int) -> bytes:
        path = self._path(number)
        content = files.read(path, RECORD_MAX_BYTES)
        if content is None:
            raise ChainBroken(f"{path} is missing.")
        return content

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"


def continued(seen: Sequence[Record], contents: Iterable[bytes]) -> tuple[Record, ...]:
    """Those seen, and records from elsewhere behind them, of which nothing is believed before.

    Raises:
        ChainBroken: One is none, was changed, does not follow from the one before it, or gives another digest to a
            version than an earlier one.
    """
    records = list(seen)
    digests = {record.promotion.version: record.promotion.digest for record in seen}
    for content in contents:
        promotion, number = Promotion.parse(content), len(records) + 1
        if not _follows(promotion, records):
            raise ChainBroken(f"What is given as record {number} does not follow from the record before it.")
        if digests.setdefault(promotion.version, promotion.digest) != promotion.digest:
            raise ChainBroken(f"Record {number} is of another version {promotion.version} than an earlier record.")
        records.append(Record(promotion, Digest.of(content), None))
    return tuple(records)


def _follows(promotion: Promotion, records: Sequence[Record]) -> bool:
    """Whether it is the next one after these."""
    previous = records[-1].digest if records else None
    return promotion.number == len(records) + 1 and promotion.previous == previous


def standing(promotions: Sequence[Promotion], alias: str) -> list[Promotion]:
    """Promotions of an alias that no rollback has undone, oldest first: it names the version of the last.

    A rollback undoes one promotion, a second rollback the one before; a promotion after them starts from there.
    What was withdrawn names nothing, and nothing before it comes back.
    """
    left: list[Promotion] = []
    for promotion in promotions:
        if promotion.alias == alias:
            if promotion.action == "withdraw":
                left.clear()
                continue
            if promotion.action == "rollback":
                del left[-1:]
            if not left or left[-1].version != promotion.version:
                left.append(promotion)
    return left


def check_current(alias: str, left: Sequence[Promotion], expected: int | EllipsisType | None) -> None:
    """Compare-and-set: what the alias names is what the caller took it to name, if that matters to him.

    Args:
        alias: To be changed.
        left: What is `standing` of it.
        expected: Number of a version, None for nothing; `...` if that does not matter.

    Raises:
        PromotionConflict: It names something else.
    """
    current = left[-1].version if left else None
    if expected is not ... and expected != current:
        raise PromotionConflict(f"{alias} names {current or 'nothing'}, not {expected or 'nothing'}.")
