"""Which images a network may be measured on: none that it learnt from, or on which anything was chosen."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from model_store.version import Version
from training.datasets.folds import BUSI, Split, one_a_scene
from training.datasets.records import Record
from training.errors import RunUnusable
from training.run_folder import RunFolder

LEARNT_FROM = "learnt_from.csv"
"""Of a version: part, dataset, file, group and sha256 of each image that it was made with."""

SEEN = ("train", "validation")
"""Parts that a network has learnt from, or on which something was chosen."""

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
    table = list(csv.DictReader(io.StringIO(version.read(LEARNT_FROM).decode())))
    seen = [line for line in table if line["part"] in SEEN]
    digests, groups = {line["sha256"] for line in seen}, {(line["dataset"], line["group"]) for line in seen}
    of_file = Counter(record.files[0] for record in records)  # a file of many images tells nothing of a single one
    kept = tuple(
        record
        for record in chosen
        if (record.dataset, record.group) not in groups
        and not (of_file[record.files[0]] == 1 and _sha256(record.files[0]) in digests)
    )
    left_out = len(chosen) - len(kept)
    return kept, (f"{left_out} images were left out: {version} learnt from them, or something was chosen on them.",)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
