"""A run has each image in its table once, whatever is killed when."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from model_store.errors import ModelStoreError
from model_store.store import ModelStore
from service.archive.asked import Asked
from service.archive.backfill import opened
from service.archive.plan import Plan
from service.archive.work import ENDED, VERSION, Work
from service.errors import ArchiveUnusable, BodyTooLarge, OutputsExist, PacsRefused, SettingsInvalid
from service.settings import Settings
from tests.service.archive.conftest import Begin
from tests.service.dicom.instances import instance, part10, squares
from tests.service.pacs.conftest import FakePacs
from tests.service.pacs.serving import served

Finish = Callable[[Work], list[dict[str, Any]]]


def sources(rows: list[dict[str, Any]]) -> list[str]:
    """Of rows."""
    return [row["source"] for row in rows]


@pytest.mark.requirement("ARC-2")
def test_every_image_has_one_row(begin: Begin, finish: Finish, archive: Path) -> None:
    """In the order of their names; the command given again adds none, and does nothing."""
    rows = finish(begin())
    manifest = archive.parent / "out" / "manifest.parquet"
    written = manifest.stat().st_mtime_ns

    assert sorted(path.as_uri() for path in archive.rglob("*.png")) == sources(rows)
    assert rows == finish(begin())
    assert written == manifest.stat().st_mtime_ns


@pytest.mark.requirement("ARC-2")
def test_a_batch_that_is_done_twice_is_there_once(begin: Begin, finish: Finish) -> None:
    """By a machine that was given up for lost, and by the one that had its work then: even at the same time."""
    work = begin()
    batch = Plan(work.outputs).pending()[1]
    lost = work.outputs
    with lost.writing(batch.part) as file:  # it is about to end its part
        done = work.do(batch)
        file.write(work.outputs.read(batch.part) or b"")
    assert (16, 16) == (done.images, done.segmented)
    assert done == work.do(batch)

    rows = finish(work)
    assert 40 == len(rows) == len(set(sources(rows)))


def test_a_part_that_was_cut_off_is_no_part(begin: Begin, finish: Finish, archive: Path) -> None:
    """Its machine died while it was written: nothing of it is under its name."""
    work = begin()
    batch = Plan(work.outputs).pending()[0]
    with suppress(KeyboardInterrupt), work.outputs.writing(batch.part) as file:
        file.write(b"PAR1")
        raise KeyboardInterrupt

    assert batch in Plan(work.outputs).pending()
    assert 40 == len(finish(work))
    assert [] == list((archive.parent / "out" / "unfinished").iterdir())


@pytest.mark.parametrize(("name", "helps"), [("parts/000000001", "remove it"), ("plan/000001", "another folder")])
def test_a_damaged_file_of_a_run_is_told(begin: Begin, finish: Finish, archive: Path, name: str, helps: str) -> None:
    """And what helps: a part is made again where it is gone."""
    rows = finish(begin())
    damaged = archive.parent / "out" / f"{name}.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (archive.parent / "out" / "manifest.parquet").unlink()

    with pytest.raises(ArchiveUnusable, match=f"{name}.parquet is damaged: .*{helps}"):
        finish(begin())
    if helps == "remove it":
        damaged.unlink()
        assert rows == finish(begin())


def test_a_run_goes_on_as_it_was_planned(begin: Begin, finish: Finish, archive: Path, image: bytes) -> None:
    """What the archive gains while a run is broken off comes when that is done; then the table has it too."""
    work = begin()
    work.do(Plan(work.outputs).pending()[0])
    (archive / "new.png").write_bytes(image)
    assert 40 == len(finish(begin()))

    rows = finish(begin())
    assert 41 == len(rows) == len(set(sources(rows)))
    assert sources(rows)[-1].endswith("new.png")


def test_what_could_not_be_read_is_tried_again(begin: Begin, finish: Finish, archive: Path, image: bytes) -> None:
    """By the same command, later; its row then is the new one alone."""
    work = begin()
    gone = archive / "1" / "01.png"
    gone.unlink()
    before = {row["source"]: row for row in finish(work)}
    gone.write_bytes(image)
    rows = finish(begin())

    assert ("unavailable", "file_not_found_error") == tuple(before[gone.as_uri()][name] for name in ("status", "code"))
    assert before[gone.as_uri()]["reason"] == "No such file or directory"
    assert 40 == len(rows) == len(set(sources(rows)))
    assert {"segmented"} == {row["status"] for row in rows}


@pytest.mark.requirement("BAD-1")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BodyTooLarge("It is too large."), "unusable"),
        (PacsRefused("It says no."), "unavailable"),
        (ValueError("Failed unexpectedly (ValueError)."), "unavailable"),
    ],
)
def test_what_is_refused_is_a_row(begin: Begin, finish: Finish, error: Exception, status: str) -> None:
    """The others are done."""
    work = begin()
    work.__dict__["archive"] = Refusing(work.archive.read, error)
    rows = finish(work)

    assert [status] == [row["status"] for row in rows if row["status"] != "segmented"]
    assert [str(error)] == [row["reason"] for row in rows if row["reason"]]


class Refusing:
    """An archive that does not give one of its images."""

    def __init__(self, read: Callable[[str], bytes], error: BaseException) -> None:
        self._read = read
        self._error = error

    def read(self, source: str) -> bytes:
        """All but one."""
        if source.endswith("07.png"):
            raise self._error
        return self._read(source)


@pytest.mark.requirement("ARC-1")
def test_what_a_search_of_the_pacs_finds_is_tabulated(
    published_store: ModelStore, finish: Finish, tmp_path: Path
) -> None:
    """Each instance by its address, with the attributes that were asked for, and nothing written to the PACS."""
    pacs = FakePacs()
    for number in range(20):
        made = instance(squares(), SOPInstanceUID=f"1.2.3.{number}", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
        pacs.put(part10(made))
    asked = Asked(None, "StudyDate=2026", str(tmp_path / "out"), tags=("SOPInstanceUID",))
    with served(pacs) as address:
        settings = {"store": published_store.root, "provider": "cpu", "pacs": {"url": address}}
        with opened(asked, Settings.model_validate(settings)) as run:
            assert 20 == run.plan()
            rows = finish(run.work)

    assert {f"1.2.3.{number}" for number in range(20)} == {row["tag_SOPInstanceUID"] for row in rows}
    assert all(
        row["source"] == f"{address}/studies/1.2/series/1.2.3/instances/{row['tag_SOPInstanceUID']}" for row in rows
    )
    assert {"GET"} == {request.method for request in pacs.requests}


class Fatal(BaseException):
    """Ends the process, as a crash of a library does."""


def test_an_image_that_ends_its_process_each_time_is_passed_over(begin: Begin, finish: Finish) -> None:
    """It is found out by noting each image, and only where a batch has failed before; nothing else is lost."""
    work = begin()
    (batch,) = [
        each for each in Plan(work.outputs).pending() if any("07.png" in it for it in each.sources(work.outputs))
    ]
    work.__dict__["archive"] = Refusing(work.archive.read, Fatal())
    for _ in range(4):  # twice without notes, twice with
        with pytest.raises(Fatal):
            work.do(batch)
    done = work.do(batch)

    assert (done.images - 1, 1) == (done.segmented, done.unusable)
    failed = [row for row in finish(work) if row["status"] != "segmented"]
    assert [("worker_ended", ENDED)] == [(row["code"], row["reason"]) for row in failed]


def test_machines_that_are_lost_by_chance_cost_no_image(begin: Begin, finish: Finish) -> None:
    """However often: not the same image is noted twice."""
    work = begin()
    batch = Plan(work.outputs).pending()[0]
    for number in range(4):
        work.outputs.write(f"{batch.attempts}/begun-{number}", b"")
        work.outputs.write(f"{batch.attempts}/at-{number}-x", b"")

    assert {"segmented"} == {row["status"] for row in finish(work)}


@pytest.mark.requirement("VER-2")
def test_each_machine_verifies_the_version(begin: Begin) -> None:
    """One that was changed on its way makes no row."""
    work = begin()
    tar = bytearray(work.outputs.read(VERSION) or b"")
    tar[len(tar) // 2] ^= 1
    work.outputs.write(VERSION, bytes(tar))

    with pytest.raises(ModelStoreError):
        work.do(Plan(work.outputs).pending()[0])


def test_a_run_keeps_its_version(
    begin: Begin, finish: Finish, published_store: ModelStore, tiny_draft: Any, tiny_contents: Any
) -> None:
    """Through a promotion; whoever names another is told."""
    digest = begin().run.digest
    published_store.publish("efsnet", tiny_draft, {**tiny_contents, "MODEL_CARD.md": b"another"})
    published_store.promote("efsnet", "production", 2, by="the tests", why="newer")

    assert {digest} == {row["version_digest"] for row in finish(begin())}
    with pytest.raises(OutputsExist, match="another"):
        begin(version="2")


def test_a_folder_of_another_run_is_refused(begin: Begin, tmp_path: Path) -> None:
    """As is one that is damaged, and one in the archive itself."""
    begin()
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    for other in ({"tags": ("StudyDate",)}, {"archive": str(tmp_path)}):
        with pytest.raises(OutputsExist):
            begin(**other)
    for within in ("archive/out", "link/out", "out/../archive/out"):
        with pytest.raises(OutputsExist, match="would lie in the archive"):
            begin(out=f"{tmp_path}/{within}")
    with pytest.raises(OutputsExist, match="would lie in the archive"):
        begin(archive="s3://archive/2015", out="s3://archive/2015/out")
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(OutputsExist, match="damaged"):
        begin()


def test_two_commands_are_not_at_one_run(begin: Begin) -> None:
    """The second is told so."""
    work = begin()

    with work.outputs.held(), pytest.raises(OutputsExist, match="Another command"):
        begin()


@pytest.mark.parametrize("keyword", ["StudyDay", "PixelData", "SequenceOfUltrasoundRegions"])
def test_what_is_no_attribute_of_text_is_refused(begin: Begin, keyword: str) -> None:
    """Before the folder is made."""
    with pytest.raises(SettingsInvalid, match=keyword):
        begin(tags=(keyword,))


@pytest.mark.parametrize("address", [{"archive": "s3://key:secret@archive"}, {"out": "s3://key:secret@results"}])
def test_a_password_in_an_address_is_refused(begin: Begin, address: dict[str, str]) -> None:
    """It would stand in the results, for whoever reads them."""
    with pytest.raises(SettingsInvalid, match="AWS_SECRET_ACCESS_KEY"):
        begin(**address)


def test_the_documents_name_every_column(begin: Begin, finish: Finish, tmp_path: Path, repository: Path) -> None:
    """Those of a class by what stands behind its name."""
    finish(begin())
    text = (repository / "docs" / "archive.md").read_text(encoding="utf-8")
    columns = parquet.read_schema(tmp_path / "out" / "manifest.parquet").names
    named = {name.replace("benign_", "CLASS_").replace("malignant_", "CLASS_") for name in columns}

    assert [] == [name for name in sorted(named) if f"`{name}`" not in text]


def test_the_table_tells_which_columns_there_are(begin: Begin, finish: Finish, tmp_path: Path) -> None:
    """With their types, also where a run has nothing to say."""
    finish(begin())
    schema = parquet.read_schema(tmp_path / "out" / "manifest.parquet")

    assert {"source", "digest", "status", "benign_area_mm2", "malignant_rle", "lesions"} <= set(schema.names)
