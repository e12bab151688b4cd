"""The commands for whoever connects a PACS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.jobs.database import open_database
from service.jobs.job import Order, Priority, Subject
from service.jobs.queue import JobQueue
from service.pacs_commands import _show
from tests.service.pacs.conftest import FakePacs, image
from tests.service.pacs.serving import served


@pytest.fixture
def address(pacs: FakePacs) -> Iterator[str]:
    """Where the PACS answers over HTTP."""
    with served(pacs) as address:
        yield address


@pytest.fixture
def pacs() -> FakePacs:
    """An empty PACS."""
    return FakePacs()


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFSNET_STATE", str(tmp_path / "state"))


def run(*arguments: str) -> Result:
    """`python -m service …`."""
    return CliRunner().invoke(app, arguments)


def test_without_a_pacs_the_setting_is_named() -> None:
    """In one line."""
    found = run("pacs", "test")

    assert found.exit_code == 2
    assert "EFSNET_PACS_URL" in found.stderr


def test_each_step_is_a_line(pacs: FakePacs, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written because it may not be is no failure."""
    monkeypatch.setenv("EFSNET_PACS_URL", address)
    pacs.add(image())
    found = run("pacs", "test")

    assert found.exit_code == 0
    assert [line.split()[:2] for line in found.stdout.splitlines()] == [
        ["query", "ok"],
        ["retrieve", "ok"],
        ["store", "skipped"],
        ["find", "skipped"],
    ]


def test_a_step_that_fails_is_told_by_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a script notices."""
    monkeypatch.setenv("EFSNET_PACS_URL", "http://127.0.0.1:9/dicom-web")
    found = run("pacs", "test")

    assert found.exit_code == 1
    assert "cannot be reached" in found.stdout


def test_a_backfill_queues_the_studies_that_match(
    pacs: FakePacs, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind all live work, once however often it is given."""
    monkeypatch.setenv("EFSNET_PACS_URL", address)
    for study in ("1.2", "1.3"):
        pacs.add(image(study=study))
    for _ in range(2):
        found = run("backfill", "--query", "StudyDate=20200101-", "--reanalyse", "--no-follow")
        assert (found.exit_code, found.stderr) == (0, "2 studies are queued.\n")

    jobs = JobQueue(open_database(None, tmp_path / "state")).newest(state=None, limit=10)
    assert {job.order for job in jobs} == {
        Order(Subject(study), Priority.BACKFILL, explicit=True, reanalyse=True) for study in ("1.2", "1.3")
    }
    assert b"StudyDate=20200101-" in pacs.requests[0].url.query


def test_a_backfill_without_its_pacs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    monkeypatch.setenv("EFSNET_PACS_URL", "http://127.0.0.1:9/dicom-web")
    found = run("backfill", "--query", "StudyDate=20200101-")

    assert found.exit_code == 2
    assert "cannot be reached" in found.stderr


def test_progress_ends_when_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And tells of what failed."""
    queue = JobQueue(open_database(None, tmp_path))
    queue.add(Order(Subject("1.2"), Priority.BACKFILL))
    job = queue.take()
    assert job is not None
    queue.refuse(job, "the PACS refuses it")
    _show(queue)

    assert "1 failed" in capsys.readouterr().err
