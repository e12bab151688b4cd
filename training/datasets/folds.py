"""Splits by group: the five folds of BUSI, made once and never redrawn, and the parts of one fold of any sets.

Groups, not images, are drawn, class by class, so that no group is on both sides and each fold has its share of
each class. A group is a patient, or a scene where a set names no patients, as BUSI does not: two scenes may be of one
woman, so grouping by scene is necessary, and not sufficient. Scenes that contradict themselves belong to no fold.
Each set is split for itself: what a fold leaves out of one set does not depend on the others.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import SplitDiffers, TooFewScenes

FOLDS = Path(__file__).with_name("busi_folds.csv")
FOLD_COUNT = 5
FOLD_SEED = 20240704
BUSI = "BUSI"
PARTS = ("train", "validation", "test", "left_out")
VALIDATION_PARTS = 10
"""One in this many training scenes is for choosing thresholds and temperature."""


@dataclass(frozen=True, slots=True)
class Split:
    """The records of one fold.

    Args:
        train: What the weights are fitted to; every image of its groups.
        validation: What thresholds and temperature are chosen on, one image a scene.
        test: What figures are reported on and nothing is chosen on, one image a scene.
        left_out: Contradictory images, in no part.
    """

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]
    left_out: tuple[Record, ...]

    def as_csv(self) -> str:
        """One line an image: part, data set, file, scene."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["part", "dataset", "file", "scene"])
        for part in PARTS:
            table.writerows([part, each.dataset, each.name, each.scene] for each in getattr(self, part))
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str, records: Iterable[Record]) -> Self:
        """The split that `as_csv` wrote, of the same data sets; a line that names none is of BUSI, as all once were.

        Raises:
            SplitDiffers: images of the split are not in the data sets, or not of the same scene.
        """
        known = {(record.dataset, record.name, record.scene): record for record in records}
        parts: dict[str, list[Record]] = {part: [] for part in PARTS}
        missing = []
        for row in csv.DictReader(io.StringIO(text)):
            record = known.get((row.get("dataset", BUSI), row["file"], row["scene"]))
            if record is None:
                missing.append(row["file"])
            else:
                parts[row["part"]].append(record)
        if missing:
            raise SplitDiffers(missing)
        return cls(**{part: tuple(members) for part, members in parts.items()})


def draw_folds(
    records: Iterable[Record], count: int, seed: int, of: Callable[[Record], str] = lambda record: record.group
) -> dict[str, int]:
    """Fold number (from 0) of each group of images that contradict themselves in nothing, stratified by class.

    The groups of each class are shuffled and dealt out in turn, each class going on where the last one
    stopped, so that neither classes nor folds differ by more than one group. The class of a group with images of
    several, as of a patient with healthy and diseased views, is the gravest.

    Args:
        records: All images.
        count: Number of folds.
        seed: Of the shuffling.
        of: What an image is grouped by.
    """
    gravest: dict[str, int] = defaultdict(int)
    for record in records:
        if not record.contradictory:
            gravest[of(record)] = max(gravest[of(record)], CLASS_NUMBERS[record.kind])
    random = np.random.default_rng(seed)
    of_classes = [sorted(group for group, at in gravest.items() if at == number) for number in CLASS_NUMBERS.values()]
    dealt = [group for groups in of_classes for group in random.permutation(groups).tolist()]
    return {group: position % count for position, group in enumerate(dealt)}


def folds_as_csv(records: Sequence[Record]) -> str:
    """The text of `busi_folds.csv` for all of BUSI; groups of other sets, each dealt out for itself, follow."""
    lines = []
    for name in dict.fromkeys(record.dataset for record in records):
        dealt = draw_folds((record for record in records if record.dataset == name), FOLD_COUNT, FOLD_SEED)
        lines += [f"{group.removeprefix(f'{BUSI}/')},{fold}" for group, fold in sorted(dealt.items())]
    return "\n".join(["scene,fold", *lines, ""])


@cache
def busi_folds() -> Mapping[str, int]:
    """Fold number (0 to 4) of each scene of BUSI, by its group."""
    with FOLDS.open(newline="", encoding="utf-8") as table:
        return {f"{BUSI}/{row['scene']}": int(row["fold"]) for row in csv.DictReader(table)}


def split(records: Sequence[Record], fold: int) -> Split:
    """The parts of one fold of each data set; groups that BUSI does not have are dealt out to folds by the same rule.

    Args:
        records: All records of one or more data sets.
        fold: The fold that is the test part, from 0.

    Raises:
        TooFewScenes: a part would be empty.
    """
    names = dict.fromkeys(record.dataset for record in records)
    each = [_split_set([record for record in records if record.dataset == name], fold) for name in names]
    return Split(*(tuple(record for parts in each for record in getattr(parts, part)) for part in PARTS))


def _split_set(records: Sequence[Record], fold: int) -> Split:
    added = [record for record in records if record.group not in busi_folds()]
    folds = {**draw_folds(added, FOLD_COUNT, FOLD_SEED), **busi_folds()}
    certain = [record for record in records if not record.contradictory]
    test = [record for record in certain if folds.get(record.group) == fold]
    rest = [record for record in certain if folds.get(record.group) != fold]
    validation_part = draw_folds(rest, VALIDATION_PARTS, FOLD_SEED + 1 + fold)
    parts = Split(
        train=tuple(record for record in rest if validation_part[record.group] != 0),
        validation=one_a_scene(record for record in rest if validation_part[record.group] == 0),
        test=one_a_scene(test),
        left_out=tuple(record for record in records if record.contradictory),
    )
    if not (parts.train and parts.validation and parts.test):
        raise TooFewScenes(len({record.scene for record in certain}))
    return parts


def folds_of(records: Iterable[Record]) -> tuple[int, ...]:
    """Which of BUSI's folds the records are of, ascending."""
    return tuple(sorted({busi_folds()[record.group] for record in records if record.group in busi_folds()}))


def one_a_scene(records: Iterable[Record]) -> tuple[Record, ...]:
    """The first record of each scene, the ones without burned-in marks or objections before the others."""
    chosen: dict[tuple[str, str], Record] = {}
    for record in sorted(records, key=lambda record: len(record.remarks)):
        chosen.setdefault((record.dataset, record.scene), record)
    return tuple(sorted(chosen.values(), key=lambda record: record.name))
