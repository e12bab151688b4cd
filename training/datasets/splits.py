"""The ways in which data sets are split: one to be believed, two to compare with others, and none at all."""

from collections.abc import Sequence
from typing import Literal

from training.datasets.busi import curation
from training.datasets.folds import (
    FOLD_COUNT,
    FOLD_SEED,
    VALIDATION_PARTS,
    Split,
    draw_folds,
    one_a_scene,
    split,
)
from training.datasets.records import Record
from training.errors import TooFewScenes

SplitKind = Literal["groups", "images", "thesis", "all"]
"""`groups`: no patient or scene is on both sides. `images`: images are drawn one by one, as most papers do, so that
copies of a scene are on both sides; the same images are tested as by `groups`. `thesis`: the images that the thesis
tested on, in its own random split. `all`: everything is learnt from, and nothing is left to choose or test on."""


def split_by(kind: SplitKind, records: Sequence[Record], fold: int) -> Split:
    """The parts of data sets.

    Args:
        kind: How they are split.
        records: All records of one or more data sets.
        fold: Which fold is tested, from 0; without meaning for `thesis` and `all`.

    Raises:
        TooFewScenes: a part would be empty.
    """
    match kind:
        case "groups":
            return split(records, fold)
        case "images":
            return _checked(_by_image(records, fold), records)
        case "thesis":
            return _checked(_as_the_thesis(records), records)
        case "all":
            certain = tuple(record for record in records if not record.contradictory)
            return Split(certain, (), (), tuple(record for record in records if record.contradictory))


def _by_image(records: Sequence[Record], fold: int) -> Split:
    certain = [record for record in records if not record.contradictory]
    folds = draw_folds(certain, FOLD_COUNT, FOLD_SEED, of=_itself)
    rest = [record for record in certain if folds[record.key] != fold]
    validation_part = draw_folds(rest, VALIDATION_PARTS, FOLD_SEED + 1 + fold, of=_itself)
    return Split(
        train=tuple(record for record in rest if validation_part[record.key] != 0),
        validation=tuple(record for record in rest if validation_part[record.key] == 0),
        test=tuple(record for record in one_a_scene(certain) if folds[record.key] == fold),
        left_out=tuple(record for record in records if record.contradictory),
    )


def _as_the_thesis(records: Sequence[Record]) -> Split:
    """Its 680 and 100 images, contradictory ones among them; the thresholds come from scenes that are not tested."""
    tested = {name for name, row in curation().items() if row["thesis_split"] != "train"}
    test = tuple(record for record in records if record.name in tested)
    rest = [record for record in records if record.name not in tested]
    apart = [record for record in rest if record.group not in {record.group for record in test}]
    validation_part = draw_folds(apart, VALIDATION_PARTS, FOLD_SEED + 1)
    chosen = {record.key for record in apart if validation_part.get(record.group) == 0}
    return Split(
        train=tuple(record for record in rest if record.key not in chosen),
        validation=one_a_scene(record for record in rest if record.key in chosen),
        test=test,
        left_out=(),
    )


def _itself(record: Record) -> str:
    return record.key


def _checked(parts: Split, records: Sequence[Record]) -> Split:
    if not (parts.train and parts.validation and parts.test):
        raise TooFewScenes(len({record.scene for record in records}))
    return parts
