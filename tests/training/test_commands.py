"""The commands say what is wrong in words and end with 1."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.datasets.folds import FOLDS


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m training …`."""
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_inspect_prints_and_draws(busi: Path, tmp_path: Path) -> None:
    """A new user's first command."""
    sheet = tmp_path / "sheet.png"
    answer = run("inspect", busi, "--sheet", sheet)

    assert 0 == answer.returncode, answer.stderr
    assert "Scenes: 9" in answer.stdout
    assert sheet.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inspect", "nowhere"), "no such folder"),
        (("evaluate", "nowhere", "tests/data"), "no training run"),
        (("evaluate", "nowhere", "tests/data", "--store", "nowhere"), "--out"),
        (("compare", "nowhere", "nowhere"), "holds no evaluation"),
        (("ladder", "nowhere"), "holds no evaluation"),
        (("publish", "nowhere", "--store", "nowhere"), "no training run"),
        (("train", "tests/data", "--out", "nowhere", "--config", "defalt"), "No configuration"),
        (("train", "tests/data", "--out", "nowhere", "--from", "3"), "--store"),
        (("make-folds", "tests/data", "--out", FOLDS), "never redrawn"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_answered_in_words(
    arguments: tuple[str, ...], words: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback for what a user can mend, and nothing is written."""
    monkeypatch.chdir(repository)
    answer = run(*arguments)

    assert 1 == answer.returncode
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (repository / "nowhere").exists()
