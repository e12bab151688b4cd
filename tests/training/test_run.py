"""A run can be killed at any moment and goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from training.configuration import Configuration
from training.datasets.busi import read_busi
from training.datasets.folds import split
from training.datasets.splits import SplitKind, split_by
from training.errors import RunUnusable
from training.processes import check_agreement
from training.provenance import Start, describe, digest_of
from training.run import facts_of
from training.run_folder import RunFolder

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]
Train = Callable[..., subprocess.CompletedProcess[str]]

KINDS = (("normal", 4), ("benign", 12), ("malignant", 8))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(data: Path, out: Path, *options: str) -> list[str]:
    """The training command on the CPU, without the minute that compiling takes."""
    options = ("--accelerator", "cpu", "--no-compile", *options)
    return [sys.executable, "-m", "training", "train", str(data), "--out", str(out), *options]


def weights(out: Path) -> dict[str, np.ndarray]:
    """The final weights of a run."""
    return dict(load_file(RunFolder(out).weights_file))


@pytest.mark.system
@pytest.mark.requirement("TRAIN-5")
def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(
    make_busi: MakeBusi, recipe: Path, tmp_path: Path
) -> None:
    """SIGKILL behind the first checkpoint, then --resume: bit for bit the same weights, and figures of the hold-out."""
    data = make_busi(KINDS)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    subprocess.run(command(data, unbroken, "--config", str(recipe)), check=True, env=ENVIRONMENT)
    process = subprocess.Popen(command(data, broken, "--config", str(recipe)), env=ENVIRONMENT)
    while not list(RunFolder(broken).checkpoints.glob("step=2.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(data, broken, "--resume"), check=True, env=ENVIRONMENT)

    expected, resumed = weights(unbroken), weights(broken)
    assert expected.keys() == resumed.keys()
    assert all(np.array_equal(expected[name], resumed[name]) for name in expected)
    assert RunFolder(unbroken).metrics_file.read_text() == RunFolder(broken).metrics_file.read_text()


@pytest.mark.system
def test_a_run_killed_behind_its_last_step_ends_with_the_same_weights(
    make_busi: MakeBusi, recipe: Path, tmp_path: Path
) -> None:
    """Nothing is left to train then; the averaged weights are taken up, not those of the last step."""
    data, out = make_busi(KINDS), tmp_path / "run"
    subprocess.run(command(data, out, "--config", str(recipe)), check=True, env=ENVIRONMENT)
    expected = weights(out)
    RunFolder(out).weights_file.unlink()
    subprocess.run(command(data, out, "--resume"), check=True, env=ENVIRONMENT)

    resumed = weights(out)
    assert all(np.array_equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.system
def test_two_processes_share_a_run(make_busi: MakeBusi, recipe: Path, tmp_path: Path) -> None:
    """`--devices 2` trains one network, once."""
    out = tmp_path / "run"
    subprocess.run(
        command(make_busi(KINDS), out, "--config", str(recipe), "--devices", "2"), check=True, env=ENVIRONMENT
    )

    assert RunFolder(out).metrics_file.exists()
    assert sum(array.size for name, array in weights(out).items() if "running" not in name) >= 178_887


def test_a_cut_off_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """A file that was being written when the power went is not the one to resume from."""
    torch = pytest.importorskip("torch")
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    whole, cut = folder.checkpoints / "step=2.ckpt", folder.checkpoints / "step=4.ckpt"
    torch.save({"weight": torch.zeros(100)}, whole)
    cut.write_bytes(whole.read_bytes()[:300])
    os.utime(whole, (1, 1))

    assert whole == folder.newest_checkpoint()


def test_a_folder_without_a_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    """A run killed before its first checkpoint lost nothing."""
    assert RunFolder(tmp_path).newest_checkpoint() is None


def test_a_run_goes_on_with_its_own_fold(
    make_busi: MakeBusi, tmp_path: Path, tiny_configuration: Configuration
) -> None:
    """Whoever names another fold or split is told so, and does not get the old one in silence."""
    records = read_busi(make_busi((("normal", 5), ("benign", 20), ("malignant", 10))))
    folder = RunFolder(tmp_path / "run")
    describe(folder, tiny_configuration, split_by("groups", records, 3))

    assert folder.split(records) == folder.resumed_split(records, None, None) == folder.resumed_split(records, None, 3)
    others: tuple[tuple[SplitKind | None, int | None], ...] = (
        (None, 0),
        ("groups", None),
        ("groups", 4),
        ("all", None),
    )
    for kind, fold in others:
        with pytest.raises(RunUnusable, match="was split otherwise"):
            folder.resumed_split(records, kind, fold)


def test_a_run_that_goes_on_begins_where_it_began(
    make_busi: MakeBusi, tmp_path: Path, tiny_configuration: Configuration
) -> None:
    """Killed before its first state it needs the version again, and never another one's weights, or random ones."""
    torch = pytest.importorskip("torch")
    parts = split(read_busi(make_busi(KINDS)), 0)
    begun, alone = RunFolder(tmp_path / "begun"), RunFolder(tmp_path / "alone")
    describe(begun, tiny_configuration, parts, start=Start("sha256:1", ""))
    describe(alone, tiny_configuration, parts)
    alone.check_beginning(None)
    begun.check_beginning("sha256:1")

    for folder, digest, words in (
        (begun, None, "say --from and --store again"),
        (begun, "sha256:2", "the weights of sha256:1, not with those of sha256:2"),
        (alone, "sha256:1", "random weights"),
    ):
        with pytest.raises(RunUnusable, match=words):
            folder.check_beginning(digest)
    begun.checkpoints.mkdir()
    torch.save({}, begun.checkpoints / "step=2.ckpt")
    begun.check_beginning(None)


def test_one_process_trains_a_run(tmp_path: Path) -> None:
    """What a killed cross-validation left running is not trained a second time beside it."""
    folder = RunFolder(tmp_path / "run")
    with folder.alone(), pytest.raises(RunUnusable, match="by another process"), folder.alone():
        pass
    with folder.alone():
        assert folder.path.is_dir()


def test_a_run_says_what_it_is_before_it_starts(
    make_busi: MakeBusi, tmp_path: Path, tiny_configuration: Configuration
) -> None:
    """Recipe, split and digests of the data are on disk, and read back."""
    records = read_busi(make_busi(KINDS))
    parts = split(records, 0)
    folder = RunFolder(tmp_path / "run")
    describe(folder, tiny_configuration, parts)

    assert tiny_configuration == folder.configuration()
    assert parts == folder.split(records)
    images = json.loads(folder.environment_file.read_text(encoding="utf-8"))["images"]
    assert {"count": len(parts.train), "sha256": digest_of(parts.train)} == images["train"]


def test_machines_may_see_one_run_at_different_places(
    make_busi: MakeBusi, tmp_path: Path, tiny_configuration: Configuration
) -> None:
    """The folder and the data set are what is in them, wherever they are mounted; another run's folder is another."""
    kept, data = RunFolder(tmp_path / "kept"), make_busi(KINDS)
    describe(kept, tiny_configuration, split(read_busi(data), 0))
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    elsewhere = RunFolder(tmp_path / "elsewhere" / "kept")
    other = RunFolder(tmp_path / "other")
    describe(other, tiny_configuration, split(read_busi(data), 0))
    other.environment_file.write_text("{}", encoding="utf-8")
    known, moved, wrong = (
        facts_of(folder, tiny_configuration, split(read_busi(place), 0), None)
        for folder, place in (
            (kept, data),
            (elsewhere, tmp_path / "elsewhere" / data.relative_to(tmp_path)),
            (other, data),
        )
    )

    check_agreement([known, moved])
    with pytest.raises(RunUnusable, match="OUT, which is one folder that all machines see, is not the same"):
        check_agreement([known, wrong])


def test_the_digest_of_data_changes_with_any_pixel(make_busi: MakeBusi) -> None:
    """What a version learnt from can be told years later."""
    records = read_busi(make_busi([("benign", 3)]))
    before = digest_of(records)
    records[1].image.write_bytes(records[0].image.read_bytes())

    assert digest_of(records) != before
    assert digest_of(reversed(records)) == digest_of(records)


@pytest.mark.parametrize("ask", ["configuration", "network"])
def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path, ask: str) -> None:
    """With words, not with a traceback of a missing file."""
    with pytest.raises(RunUnusable, match="no training run"):
        getattr(RunFolder(tmp_path), ask)()


def test_an_unfinished_run_says_how_to_go_on(
    make_busi: MakeBusi, tmp_path: Path, tiny_configuration: Configuration
) -> None:
    """Its weights are not there yet."""
    folder = RunFolder(tmp_path / "run")
    describe(folder, tiny_configuration, split(read_busi(make_busi(KINDS)), 0))

    with pytest.raises(RunUnusable, match="--resume"):
        folder.network()
