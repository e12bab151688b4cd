"""The five folds are fixed, keep scenes together, and give each class its share."""

from collections import Counter
from pathlib import Path

import pytest

from training.datasets.busi import curation
from training.datasets.folds import FOLD_COUNT, FOLDS, Split, busi_folds, draw_folds, folds_as_csv, one_a_scene, split
from training.datasets.records import Record
from training.errors import SplitDiffers, TooFewScenes


@pytest.fixture(scope="module")
def records() -> tuple[Record, ...]:
    """All of BUSI as the curation table knows it; no file is needed to split it."""
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


@pytest.mark.requirement("TRAIN-1")
def test_the_folds_in_the_repository_are_those_of_the_seeded_command(records: tuple[Record, ...]) -> None:
    """Folds are never redrawn: what the command draws is what is committed."""
    assert FOLDS.read_text(encoding="utf-8") == folds_as_csv(records)


@pytest.mark.parametrize("fold", range(FOLD_COUNT))
@pytest.mark.requirement("TRAIN-1")
def test_no_scene_is_in_two_parts(records: tuple[Record, ...], fold: int) -> None:
    """Training, validation and test share no scene, and contradictory images are in none of them."""
    parts = split(records, fold)
    scenes = [{record.scene for record in part} for part in (parts.train, parts.validation, parts.test)]

    assert len(set.union(*scenes)) == sum(map(len, scenes))
    assert not any(record.contradictory for part in (parts.train, parts.validation, parts.test) for record in part)
    assert 20 == len(parts.left_out)


def test_every_scene_is_tested_once(records: tuple[Record, ...]) -> None:
    """Over the five folds each scene is in a test part once, with one image."""
    tested = Counter(record.scene for fold in range(FOLD_COUNT) for record in split(records, fold).test)

    assert {record.scene for record in records if not record.contradictory} == tested.keys()
    assert {1} == set(tested.values())


def test_folds_have_their_share_of_each_class(records: tuple[Record, ...]) -> None:
    """No two folds differ by more than one scene, in all or in any class."""
    kinds = {record.group: record.kind for record in records}
    counts = Counter((fold, kinds[group]) for group, fold in busi_folds().items())

    for kind in ("normal", "benign", "malignant"):
        of_kind = [counts[fold, kind] for fold in range(FOLD_COUNT)]
        assert max(of_kind) - min(of_kind) <= 1
    sizes = Counter(busi_folds().values()).values()
    assert max(sizes) - min(sizes) <= 1


def test_one_image_a_scene_prefers_those_without_remarks() -> None:
    """Burned-in marks help a network; a test image is one without, if its scene has one."""
    marked, clean = (
        Record(name, Path(name), (), "benign", scene="s", remarks=remarks)
        for name, remarks in (("benign/benign (1).png", ("text",)), ("benign/benign (2).png", ()))
    )

    assert (clean,) == one_a_scene([marked, clean])


def test_scenes_that_busi_does_not_have_are_dealt_out_too(records: tuple[Record, ...]) -> None:
    """A hospital's own images in BUSI's layout are held out as BUSI's are, and do not move BUSI's."""
    own = [Record(f"benign/own {n}", Path(), (), "benign", scene=f"own {n}") for n in range(50)]
    alone, mixed = split(own, 0), split([*records, *own], 0)

    assert 10 == len(alone.test)
    assert set(alone.test) | set(split(records, 0).test) == set(mixed.test)


@pytest.mark.requirement("TRAIN-1")
def test_a_patient_is_never_on_both_sides(records: tuple[Record, ...]) -> None:
    """Of a set that names patients all images of one go together, and all of them are tested: each is a view."""
    views = [
        Record(f"{n}-{side}.png", Path(), (), "benign", scene=f"{n}-{side}", dataset="other", patient=str(n))
        for n in range(60)
        for side in "lr"
    ]
    parts = split(views, 2)
    patients = [{record.patient for record in part} for part in (parts.train, parts.validation, parts.test)]

    assert 60 == sum(map(len, patients)) == len(set.union(*patients))
    assert 24 == len(parts.test)
    assert all(record.group == f"other/{record.patient}" for record in views)


def test_patients_are_dealt_out_by_their_gravest_class() -> None:
    """A patient with healthy and diseased views counts once, so that folds differ by one patient of a class at most."""
    views = [
        Record(f"{n}-{at}.png", Path(), (), kind, scene=f"{n}-{at}", dataset="other", patient=str(n))
        for n in range(38)
        for at, kind in enumerate(("normal", "benign", "malignant")[: 1 + n % 3])
    ]
    gravest = {record.group: record.kind for record in views}
    folds = draw_folds(views, FOLD_COUNT, seed=1)

    assert gravest.keys() == folds.keys()
    for kind in ("normal", "benign", "malignant"):
        counts = Counter(fold for group, fold in folds.items() if gravest[group] == kind)
        assert max(counts.values()) - min(counts[fold] for fold in range(FOLD_COUNT)) <= 1


def test_folds_that_are_printed_are_those_that_are_used(records: tuple[Record, ...]) -> None:
    """Of a second set too, which is dealt out for itself."""
    other = [Record(f"{n}.png", Path(), (), "benign", scene=f"{n}", dataset="other", patient=f"{n}") for n in range(60)]
    lines = folds_as_csv([*records, *other]).splitlines()
    tested = {record.group for record in split([*records, *other], 3).test if record.dataset == "other"}

    assert FOLDS.read_text(encoding="utf-8").splitlines() == lines[: -len(other)]
    assert tested == {line.removesuffix(",3") for line in lines[-len(other) :] if line.endswith(",3")}


def test_each_set_of_a_mix_is_split_for_itself(records: tuple[Record, ...]) -> None:
    """What is held out of BUSI is the same with and without another set beside it."""
    other = [Record(f"{n}.png", Path(), (), "benign", scene=f"{n}", dataset="other", patient=f"{n}") for n in range(60)]
    mixed, alone = split([*other, *records], 1), split(records, 1)

    for part in ("train", "validation", "test"):
        of_mix = [record for record in getattr(mixed, part) if record.dataset == "BUSI"]
        assert list(getattr(alone, part)) == of_mix


def test_a_split_from_before_there_were_several_sets_is_of_busi(records: tuple[Record, ...]) -> None:
    """Its lines name no data set."""
    parts = split(records, 0)
    lines = [line.replace(",BUSI,", ",", 1).replace(",dataset,", ",", 1) for line in parts.as_csv().splitlines()]

    assert "part,file,scene" == lines[0]
    assert parts == Split.from_csv("\n".join(lines), records)


def test_a_data_set_too_small_to_be_split_is_refused(records: tuple[Record, ...]) -> None:
    """No figure of no images."""
    with pytest.raises(TooFewScenes, match="too few"):
        split(records[:2], 0)


def test_a_split_reads_back_as_it_was_written(records: tuple[Record, ...]) -> None:
    """`Split.from_csv(s.as_csv(), records) == s` for every split of those records."""
    parts = split(records, 3)

    assert parts == Split.from_csv(parts.as_csv(), records)


def test_a_split_of_another_data_set_is_refused(records: tuple[Record, ...]) -> None:
    """A run is not resumed or evaluated on images that it was not split over."""
    text = split(records, 0).as_csv()

    with pytest.raises(SplitDiffers, match="another data set"):
        Split.from_csv(text, records[:700])
