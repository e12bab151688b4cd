"""Folds are trained side by side, each once, and one that was killed goes on."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.__main__ import app
from training.configuration import Configuration
from training.cross_validation import (
    CrossValidation,
    check_recipe,
    check_split,
    finished,
    fold_numbers,
    fold_of,
)
from training.datasets.busi import read_busi
from training.datasets.records import Record
from training.datasets.splits import SplitKind, split_by
from training.errors import RunUnusable, TrainingError
from training.provenance import describe
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


def test_folds_are_written_with_commas() -> None:
    """As many as are wanted, each once."""
    assert (0, 3) == fold_numbers("0, 3")


@pytest.mark.parametrize("text", ["", "5", "0,0", "a", "0;1", "-1"])
def test_what_is_no_list_of_folds_is_refused(text: str) -> None:
    """The message says what a fold is."""
    with pytest.raises(RunUnusable, match="from 0 to 4"):
        fold_numbers(text)


def test_a_fold_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The others are trained all the same; here none can be, since there is no such data set."""
    validation = CrossValidation(tmp_path / "cv", (0, 2), (str(tmp_path / "nothing"), "--config", "default"))

    with pytest.raises(RunUnusable, match=r"Fold 0 failed(.|\n)*no such folder(.|\n)*Fold 2 failed"):
        validation.run()


def test_finished_folds_are_those_that_are_measured(tmp_path: Path) -> None:
    """A run that is begun counts for nothing; without any the user is told what to do."""
    with pytest.raises(RunUnusable, match="cross-validate"):
        finished(tmp_path)
    for fold in (0, 3):
        fold_of(tmp_path, fold).path.mkdir()
    fold_of(tmp_path, 3).metrics_file.write_text("{}")

    assert [fold_of(tmp_path, 3)] == finished(tmp_path)


def test_folds_of_two_recipes_are_not_told_together(tiny_configuration: Configuration, tmp_path: Path) -> None:
    """Nor of two seeds; what goes on as it was begun, and a folder that is not there yet, are let through."""
    folder = fold_of(tmp_path, 0)
    folder.path.mkdir()
    check_recipe(tmp_path, tiny_configuration)
    folder.configuration_file.write_text(tiny_configuration.model_dump_json(), encoding="utf-8")
    check_recipe(tmp_path, tiny_configuration)
    check_recipe(tmp_path / "new", tiny_configuration)

    for other in ({"dropout": 0.4}, {"seed": 1}):
        with pytest.raises(RunUnusable, match=r"fold-0 was begun by recipe tiny with seed 2024.*another folder"):
            check_recipe(tmp_path, tiny_configuration.model_copy(update=other))


def test_a_run_goes_on_by_its_own_recipe(tiny_configuration: Configuration, recipe: Path, tmp_path: Path) -> None:
    """Whoever names another one, or another seed, is told so, and does not get the old one in silence."""
    folder = RunFolder(tmp_path)
    folder.configuration_file.write_text(tiny_configuration.model_dump_json(), encoding="utf-8")

    assert tiny_configuration == folder.resumed(None, None) == folder.resumed(str(recipe), 2024)
    for config, seed in (("default", None), (str(recipe), 7), (None, 7)):
        with pytest.raises(RunUnusable, match="name another folder"):
            folder.resumed(config, seed)


def test_folds_of_other_images_or_another_split_are_not_told_together(
    make_busi: MakeBusi, tiny_configuration: Configuration, tmp_path: Path
) -> None:
    """Their images would be pooled as if one protocol had tested them."""
    each = read_busi(make_busi((("normal", 10), ("benign", 40), ("malignant", 20))))
    records = [replace(record, scene=each[number // 2 * 2].scene) for number, record in enumerate(each)]
    folder = fold_of(tmp_path / "cv", 1)
    describe(folder, tiny_configuration, split_by("groups", records, 1))
    check_split(tmp_path / "cv", records, "groups")
    check_split(tmp_path / "new", records, "images")

    added = [*records, replace(records[0], dataset="other")]
    refused: tuple[tuple[Sequence[Record], SplitKind, str], ...] = (
        (records, "images", "was split otherwise"),
        (records[:-2], "groups", "another data set"),
        (added, "groups", "begun without other"),
    )
    for given, kind, words in refused:
        with pytest.raises(TrainingError, match=words):
            check_split(tmp_path / "cv", given, kind)


@pytest.mark.parametrize("kind", ["all", "thesis"])
def test_what_has_no_folds_is_not_cross_validated(kind: str, tmp_path: Path) -> None:
    """Five runs on the same images, of which no two may be pooled, would be found out after hours."""
    arguments = ("cross-validate", str(tmp_path), "--split", kind, "--out", str(tmp_path / "cv"))
    answer = CliRunner().invoke(app, arguments)

    assert 2 == answer.exit_code
    assert not (tmp_path / "cv").exists()


@pytest.mark.system
def test_every_scene_is_tested_once(make_busi: MakeBusi, recipe: Path, tmp_path: Path) -> None:
    """Two folds side by side, then the rest in a second call, which trains no finished fold anew."""
    data = make_busi((("normal", 6), ("benign", 14), ("malignant", 10)))
    arguments = (str(data), "--config", str(recipe), "--accelerator", "cpu", "--no-compile")
    CrossValidation(tmp_path / "cv", (0, 1), arguments, side_by_side=2).run()
    first = fold_of(tmp_path / "cv", 0).weights_file.stat().st_mtime_ns
    CrossValidation(tmp_path / "cv", (0, 1, 2, 3, 4), arguments, side_by_side=2).run()

    folders = finished(tmp_path / "cv")
    tested = [
        line for folder in folders for line in folder.split_file.read_text().splitlines() if line.startswith("test,")
    ]
    assert 5 == len(folders)
    assert 30 == len(tested) == len(set(tested))
    assert first == fold_of(tmp_path / "cv", 0).weights_file.stat().st_mtime_ns
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False).stdout
