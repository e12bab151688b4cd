"""The splits that are only for comparison leak as they are meant to, and the others do not."""

from pathlib import Path

import pytest

from training.datasets.busi import curation
from training.datasets.records import Record
from training.datasets.splits import split_by


@pytest.fixture(scope="module")
def records() -> tuple[Record, ...]:
    """All of BUSI as the curation table knows it, without its files."""
    return tuple(
        Record(
            name,
            Path(name),
            (),
            row["class"],
            scene=row["split_group"],
            contradictory=row["group_has_class_conflict"] == "1",
        )
        for name, row in curation().items()
    )


def test_by_images_copies_of_a_scene_are_on_both_sides(records: tuple[Record, ...]) -> None:
    """That is the leak; no image itself is, and over the folds the same images are tested as by groups."""
    leaky = [split_by("images", records, fold) for fold in range(5)]
    clean = [split_by("groups", records, fold) for fold in range(5)]

    for parts in leaky:
        assert {record.group for record in parts.train} & {record.group for record in parts.test}
        assert not {record.key for record in (*parts.train, *parts.validation)} & {record.key for record in parts.test}
    assert {record.key for parts in leaky for record in parts.test} == {
        record.key for parts in clean for record in parts.test
    }


def test_the_thesis_split_tests_its_100_images(records: tuple[Record, ...]) -> None:
    """54 benign, 28 malignant and 18 normal; all others are learnt from or chosen on, and nothing is left out."""
    parts = split_by("thesis", records, 0)
    kinds = [record.kind for record in parts.test]

    assert (54, 28, 18) == tuple(kinds.count(kind) for kind in ("benign", "malignant", "normal"))
    assert not parts.left_out
    assert not {record.group for record in parts.validation} & {record.group for record in parts.test}
    assert 600 < len(parts.train) < 680


def test_a_run_on_all_images_holds_nothing_out(records: tuple[Record, ...]) -> None:
    """But for the contradictory ones."""
    parts = split_by("all", records, 3)

    assert (760, 0, 0, 20) == tuple(map(len, (parts.train, parts.validation, parts.test, parts.left_out)))
