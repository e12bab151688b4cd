"""What `backfill` takes with which engine; what the engines do is tried where they are."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store.store import ModelStore
from service.__main__ import app


def run(*arguments: object, **environment: object) -> Result:
    """`python -m service backfill …`."""
    return CliRunner().invoke(
        app, ["backfill", *map(str, arguments)], env={name: str(value) for name, value in environment.items()}
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--query"),
        (("--query", "StudyDate=2015", "--out", "there"), "--out"),
        (("folder",), "ARCHIVE"),
        (("--engine", "ray", "folder"), "--out"),
        (("--engine", "ray", "--out", "there"), "--query"),
        (("--engine", "ray", "folder", "--query", "StudyDate=2015", "--out", "there"), "--query"),
        (("--engine", "ray", "folder", "--out", "there", "--reanalyse"), "--reanalyse"),
        (("--engine", "ray", "folder", "--out", "there", "--pixel-spacing-mm", "0"), "--pixel-spacing-mm"),
    ],
)
def test_what_an_engine_does_not_take_is_told(arguments: tuple[str, ...], told: str) -> None:
    """Before anything is done."""
    found = run(*arguments)

    assert (2, True) == (found.exit_code, told in found.stderr)


def test_an_archive_that_is_not_there_is_told_in_a_line(published_store: ModelStore, tmp_path: Path) -> None:
    """As is a version that is not."""
    environment = {"EFSNET_STORE": published_store.root, "EFSNET_STATE": tmp_path / "state", "EFSNET_PROVIDER": "cpu"}
    for options in (("missing",), (tmp_path / "store", "--version", "99")):
        found = run("--engine", "ray", *options, "--out", tmp_path / "out", **environment)
        assert (2, 1) == (found.exit_code, found.stderr.count("\n"))


def test_an_archive_with_nothing_in_it_makes_no_cluster(published_store: ModelStore, tmp_path: Path) -> None:
    """And no table."""
    (tmp_path / "archive").mkdir()
    environment = {"EFSNET_STORE": published_store.root, "EFSNET_STATE": tmp_path / "state", "EFSNET_PROVIDER": "cpu"}
    found = run("--engine", "ray", tmp_path / "archive", "--out", tmp_path / "out", **environment)

    assert 0 == found.exit_code, found.stderr
    assert "0 images" in found.stderr
    assert not (tmp_path / "out" / "manifest.parquet").exists()
