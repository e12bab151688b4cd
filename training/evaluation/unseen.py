"""Which images a network may be measured on: none that it learnt from, or on which anything was chosen."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from model_store.version import Version
from training.datasets.folds import BUSI, Split, one_a_scene
from training.datasets.records import Record
from training.errors import RunUnusable
from training.run_folder import RunFolder

LEARNT_FROM = "learnt_from.csv"
"""Of a version: part, dataset, file, group and sha256 of each image that it was made with."""

SEEN = ("train", "validation")
"""Parts that a network has learnt from, or on which something was chosen."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The images of some parts of a network's `learnt_from.csv`, known by their bytes and by their groups."""

    digests: frozenset[str]
    groups: frozenset[tuple[str, str]]
    """Data set and group."""

    @classmethod
    def from_csv(cls, text: str, parts: Collection[str] = SEEN) -> Self:
        """Of the lines of these parts."""
        lines = [line for line in csv.DictReader(io.StringIO(text)) if line["part"] in parts]
        return cls(
            frozenset(line["sha256"] for line in lines), frozenset((line["dataset"], line["group"]) for line in lines)
        )

    def unseen(self, chosen: Iterable[Record], at_hand: Iterable[Record]) -> tuple[Record, ...]:
        """Those of the chosen records that are not among these images.

        Args:
            chosen: Some of those at hand.
            at_hand: All records: a file of many images tells nothing of a single one, and its group decides.
        """
        of_file = Counter(record.files[0] for record in at_hand)
        return tuple(
            record
            for record in chosen
            if (record.dataset, record.group) not in self.groups
            and not (of_file[record.files[0]] == 1 and _sha256(record.files[0]) in self.digests)
        )


_TOO_GOOD = "some or all of these may be among them, and then the figures here are too good."


def split_of(folder: RunFolder, records: Sequence[Record]) -> tuple[Split, tuple[Record, ...], tuple[str, ...]]:
    """The parts of a run in those of its sets that are at hand, all images of other sets, and its sets not at hand.

    Raises:
        RunUnusable: the folder holds no run.
        SplitDiffers: a set at hand lacks images of the split.
    """
    try:
        lines = folder.split_file.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise RunUnusable(f"{folder.path} is no training run: {error}") from error
    names = [line.get("dataset", BUSI) for line in csv.DictReader(lines)]
    at_hand = {record.dataset for record in records}
    kept = [line for line, name in zip(lines[1:], names, strict=True) if name in at_hand]
    of_split = [record for record in records if record.dataset in set(names)]
    others = tuple(record for record in records if record.dataset not in set(names))
    return Split.from_csv("".join([lines[0], *kept]), of_split), others, tuple(sorted(set(names) - at_hand))


def to_be_tested(records: Iterable[Record]) -> tuple[Record, ...]:
    """Of each set one image a scene, and none that is contradictory: as the folds are tested."""
    of_set: dict[str, list[Record]] = {}
    for record in records:
        if not record.contradictory:
            of_set.setdefault(record.dataset, []).append(record)
    return tuple(record for members in of_set.values() for record in one_a_scene(members))


def unseen_by(version: Version, records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """What a version may be measured on, and what a reader must know of that.

    An image is known by its bytes, and by its group in a data set of the same name.

    Raises:
        IntegrityError: the version is damaged.
    """
    chosen = to_be_tested(records)
    if LEARNT_FROM not in version.manifest.files:
        return chosen, (f"{version} does not say which images it learnt from: {_TOO_GOOD}",)
    kept = Learnt.from_csv(learnt_by(version)).unseen(chosen, records)
    left_out = len(chosen) - len(kept)
    note = f"{left_out} images were left out: {version} learnt from them, or something was chosen on them."
    return kept, (note,) if left_out else ()


def learnt_by(version: Version) -> str:
    """A version's `learnt_from.csv`, with what the versions before it learnt from; empty if it does not say.

    Raises:
        IntegrityError: the version is damaged.
    """
    return version.read(LEARNT_FROM).decode() if LEARNT_FROM in version.manifest.files else ""


def check_start(version: Version, split: Split) -> None:
    """Makes sure that the weights from which a run starts have not seen what it is to be chosen or tested on.

    Raises:
        RunUnusable: the version learnt from images of the run's validation part, or knows images of its test part.
        IntegrityError: the version is damaged.
    """
    _check_known(learnt_by(version), split, f"{version} learnt", "start from a version of the same split")


def check_teacher(teacher: RunFolder, split: Split) -> None:
    """The same of a run that teaches: of what it learnt from, and of what the version did that it began with.

    Raises:
        RunUnusable: as of `check_start`.
    """
    _check_known(teacher.learnt_from(), split, f"{teacher.path} learnt", "take a teacher of the same split")


def _check_known(known: str, split: Split, who_learnt: str, instead: str) -> None:
    records = (*split.train, *split.validation, *split.test)
    for part, seen in ((split.validation, ("train",)), (split.test, SEEN)):
        left = Learnt.from_csv(known, seen).unseen(part, records)
        if len(left) < len(part):
            raise RunUnusable(
                f"{who_learnt} from {len(part) - len(left)} of the images on which the new run would be chosen or "
                f"tested: {instead}, or hold nothing out (--split all)."
            )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
