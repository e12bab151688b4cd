"""Two evaluations are compared on the same images, and a table of several says no more than they do."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from efsnet.maps import LabelMap
from training.errors import EvaluationUnusable
from training.evaluation.cases import Case, EvaluationFolder
from training.evaluation.comparison import McNemar, compare, ladder, read_cases

MakeMap = Callable[..., LabelMap]
MakeCase = Callable[..., Case]

MIDDLE = slice(5, 15)


@pytest.fixture
def cases(label_map: MakeMap, case: MakeCase) -> tuple[Case, ...]:
    """Six half outlined lesions, two missed ones, and four normal images of which one is alarmed."""
    empty, lesion = label_map(), label_map((1, MIDDLE, MIDDLE))
    half = label_map((1, slice(5, 10), MIDDLE))
    pairs = [*[(half, lesion)] * 6, *[(empty, lesion)] * 2, (half, empty), *[(empty, empty)] * 3]
    return tuple(
        case(predicted, reference, name=f"{number}.png", group=f"BUSI/{number}", scene=str(number))
        for number, (predicted, reference) in enumerate(pairs)
    )


@pytest.fixture
def better(cases: Sequence[Case], label_map: MakeMap, case: MakeCase) -> tuple[Case, ...]:
    """The same, but for a miss that is outlined, and two alarms in place of one."""
    lesion, empty = label_map((1, MIDDLE, MIDDLE)), label_map()
    known = {"name": "7.png", "group": "BUSI/7", "scene": "7"}
    found = case(lesion, lesion, **known)
    alarmed = [
        case(label_map((1, MIDDLE, MIDDLE)), empty, name=f"{n}.png", group=f"BUSI/{n}", scene=str(n)) for n in (9, 10)
    ]
    return (*cases[:7], found, cases[8], *alarmed, cases[11])


def written(cases: Sequence[Case], folder: Path) -> Path:
    """An evaluation on the disk."""
    EvaluationFolder(folder).write(cases)
    return folder


def test_differences_are_of_the_same_images(cases: Sequence[Case], better: Sequence[Case]) -> None:
    """One of eight tumour images goes from 0 to 1; the order of the images does not matter."""
    comparison = compare(cases, better[::-1])

    assert comparison.differences["lesion_dice"].value == pytest.approx(1 / 8)
    assert comparison.differences["lesion_iou"].value == pytest.approx(1 / 8)
    assert 0 <= comparison.differences["lesion_dice"].low < 1 / 8 < comparison.differences["lesion_dice"].high
    assert comparison.differences["tumour_iou_pooled"].value == pytest.approx(400 / 1050 - 300 / 850, abs=0.02)
    assert (12, 0, 0) == (comparison.images, comparison.only_first, comparison.only_second)


def test_what_happens_to_single_images_is_counted_pair_by_pair(cases: Sequence[Case], better: Sequence[Case]) -> None:
    """McNemar's exact test looks at the images on which the two differ alone."""
    comparison = compare(cases, better)

    assert McNemar(count=8, only_first=1, only_second=0, p=1.0) == comparison.missed_lesions
    assert McNemar(count=4, only_first=0, only_second=2, p=0.5) == comparison.false_alarms


def test_an_evaluation_does_not_differ_from_itself(cases: Sequence[Case]) -> None:
    """Nothing, with an interval of nothing."""
    comparison = compare(cases, cases)

    for figure in comparison.differences.values():
        assert 0 == figure.value == figure.low == figure.high
    assert 1 == comparison.missed_lesions.p == comparison.false_alarms.p


def test_pairing_narrows_the_interval(cases: Sequence[Case], better: Sequence[Case]) -> None:
    """A difference is surer than what it is of, where most images are answered alike."""
    difference = compare(cases, better).differences["tumour_iou_pooled"]

    assert difference.high - difference.low < 0.5


def test_images_that_only_one_has_are_left_out_and_counted(cases: Sequence[Case]) -> None:
    """Folds that are not finished yet compare as far as they go."""
    comparison = compare(cases[:-1], cases[2:])

    assert (9, 2, 1) == (comparison.images, comparison.only_first, comparison.only_second)
    assert "left out, because only one has them: 2 and 1" in comparison.as_text("a", "b")


def test_what_cannot_be_compared_is_refused(cases: Sequence[Case]) -> None:
    """Other images, or the same ones taken for something else."""
    with pytest.raises(EvaluationUnusable, match="no image in common"):
        compare(cases[:3], cases[3:])
    with pytest.raises(EvaluationUnusable, match="another kind or group"):
        compare(cases, [replace(case, group="BUSI/other") for case in cases])


def test_of_several_seeds_the_first_is_compared(cases: Sequence[Case], better: Sequence[Case]) -> None:
    """An image does not count twice because it was tested twice."""
    both = [*(replace(case, seed=0) for case in cases), *(replace(case, seed=1) for case in better)]

    assert 0 == compare(cases, both).differences["lesion_dice"].value


def test_a_comparison_is_told_to_people_and_to_programs(cases: Sequence[Case], better: Sequence[Case]) -> None:
    """The same figures in both."""
    comparison = compare(cases, better)
    text, content = comparison.as_text("base", "new"), json.loads(comparison.as_json())

    assert "new minus base, on 12 images that both have" in text
    assert "Lesion Dice              +0.125 (" in text
    assert "of 8 images, 1 in base alone and 0 in new alone; p = 1.000" in text
    assert content["differences"]["lesion_dice"]["value"] == pytest.approx(0.125)
    assert {"count": 4, "only_first": 0, "only_second": 2, "p": 0.5} == content["false_alarms"]


def test_without_a_tumour_there_is_no_difference_in_dice(cases: Sequence[Case], tmp_path: Path) -> None:
    """What is not a number is none in JSON either; the rest is compared all the same."""
    healthy = [case for case in cases if case.kind == "normal"]
    comparison = compare(healthy, healthy)

    assert ["tumour_iou_pooled", "mean_iou_pooled"] == list(comparison.differences)
    assert "NaN" not in comparison.as_json()
    assert 4 == comparison.false_alarms.count
    assert ladder([written(healthy, tmp_path / "a"), written(healthy[:3], tmp_path / "b")]).endswith("| – |\n")


def test_cases_are_found_in_any_folder_that_holds_them(cases: Sequence[Case], tmp_path: Path) -> None:
    """An evaluation, a run with one, and a cross-validation, whose folds get their numbers."""
    written(cases, tmp_path / "alone")
    written(cases[:5], tmp_path / "folds/fold-0/evaluation")
    written(cases[5:], tmp_path / "folds/fold-3/evaluation")

    assert tuple(cases) == read_cases(tmp_path / "alone")
    assert tuple(cases[:5]) == read_cases(tmp_path / "folds/fold-0")
    assert [0] * 5 + [3] * 7 == [case.fold for case in read_cases(tmp_path / "folds")]
    with pytest.raises(EvaluationUnusable, match="holds no evaluation"):
        read_cases(tmp_path / "nowhere")


def test_folds_that_test_the_same_image_are_none(cases: Sequence[Case], tmp_path: Path) -> None:
    """Two runs of one seed, each of which tests all: counting both would make the intervals too narrow."""
    for fold in (0, 1):
        written(cases, tmp_path / f"fold-{fold}/evaluation")

    with pytest.raises(EvaluationUnusable, match="tested twice"):
        read_cases(tmp_path)


def test_a_ladder_is_a_table_of_rows_in_their_order(
    cases: Sequence[Case], better: Sequence[Case], tmp_path: Path
) -> None:
    """Each with its figures, and the paired difference to the row above."""
    folders = [written(cases, tmp_path / "base"), written(better, tmp_path / "new")]
    heading, rule, first, second = ladder(folders).splitlines()

    assert heading.startswith("| recipe | folds | images | lesion Dice (95 %) |")
    assert heading.endswith("| Dice against the row above (95 %, paired) |")
    assert heading.count("|") == rule.count("|") == first.count("|") == second.count("|")
    assert first.startswith("| base | – | 12 | 0.500 (")
    assert "| 25.0 % | 25.0 % | 100.0 % |" in first
    assert first.endswith("| – |")
    assert second.startswith("| new | – | 12 | 0.625 (")
    assert "| +0.125 (" in second


def test_a_ladder_may_compare_with_one_row(cases: Sequence[Case], better: Sequence[Case], tmp_path: Path) -> None:
    """With `base` all differences are to it, and none to itself."""
    folders = [written(each, tmp_path / name) for each, name in ((better, "new"), (cases, "base"), (better, "again"))]
    heading, _, *rows = ladder(folders, base=folders[1]).splitlines()

    assert "Dice against base" in heading
    assert [True, False, True] == ["| +0.125 (" in row for row in rows]
    assert rows[1].endswith("| – |")


def test_one_set_of_several_can_be_looked_at(cases: Sequence[Case], tmp_path: Path) -> None:
    """A recipe that was tested on two sets is compared with one that was tested on one."""
    others = [replace(each, dataset="other", name=f"other {each.name}") for each in cases[:3]]
    mixed, alone = written([*cases, *others], tmp_path / "mixed"), written(cases, tmp_path / "alone")

    assert tuple(cases) == read_cases(mixed, "BUSI")
    assert 3 == len(read_cases(mixed, "other"))
    assert "| mixed | – | 12 |" in ladder([alone, mixed], dataset="BUSI")
    with pytest.raises(EvaluationUnusable, match="no case of nothing"):
        read_cases(alone, "nothing")
