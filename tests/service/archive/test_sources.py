"""Where the images of an archive are."""

import os
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from service.archive.sources import Pacs, open_archive
from service.errors import ArchiveUnusable, BodyTooLarge, PacsNotConfigured
from service.settings import Settings
from tests.service.pacs.conftest import URL, FakePacs, image

LIMIT = 1000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a PACS, and small files."""
    return Settings.model_validate({"store": tmp_path / "store", "pacs": {"url": URL}, "max_dicom_bytes": LIMIT})


def as_path(path: Path) -> str:
    """A folder as people write it."""
    return str(path)


def as_bucket(path: Path) -> str:
    """The same as pyarrow's file system for buckets takes it."""
    return path.as_uri()


@pytest.mark.parametrize("written", [as_path, as_bucket])
def test_every_file_below_a_folder_is_read_by_its_uri(
    written: Callable[[Path], str], tmp_path: Path, settings: Settings
) -> None:
    """In whatever folder it lies, each once."""
    for name in ("b/é 1.png", "a/deep/2.dcm", "0.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    archive = open_archive(settings, written(tmp_path / "in"), None)
    sources = list(archive.sources())

    assert ["0.txt", "a/deep/2.dcm", "b/é 1.png"] == sorted(archive.read(source).decode() for source in sources)
    assert 3 == len(set(sources))
    assert all(source.startswith("file:///") for source in sources)


def test_names_that_are_no_text_and_what_is_no_file_stop_nothing(tmp_path: Path, settings: Settings) -> None:
    """A pipe would never end; a name of other bytes is a name."""
    odd = os.fsencode(tmp_path / "in") + b"/scan \xff%20#?.png"
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(odd)).write_bytes(b"odd")
    os.mkfifo(tmp_path / "in" / "pipe")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    archive = open_archive(settings, str(tmp_path / "in"), None)

    assert [b"odd"] == [archive.read(source) for source in archive.sources()]
    assert all(source.isascii() for source in archive.sources())


@pytest.mark.parametrize("written", [as_path, as_bucket])
def test_a_file_over_the_limit_is_not_taken(written: Callable[[Path], str], tmp_path: Path, settings: Settings) -> None:
    """No more of it is read than the limit allows."""
    (tmp_path / "large").write_bytes(bytes(LIMIT + 1))
    archive = open_archive(settings, written(tmp_path), None)

    with pytest.raises(BodyTooLarge):
        archive.read((tmp_path / "large").as_uri())


@pytest.mark.parametrize("place", ["{}/nothing", "file://{}/nothing", "nowhere://bucket"])
def test_an_archive_that_is_not_there_is_told(place: str, tmp_path: Path, settings: Settings) -> None:
    """Before anything else is done, or when it is listed."""
    with pytest.raises(ArchiveUnusable):
        list(open_archive(settings, place.format(tmp_path), None).sources())


def test_instances_that_a_search_finds_are_retrieved(settings: Settings) -> None:
    """Ultrasound only, by their addresses in WADO-RS; the search is passed on."""
    pacs = FakePacs()
    for number in (1, 2):
        pacs.add(image(number))
    pacs.add(image(3), "CT")
    archive = Pacs(settings, "StudyDate=2015", 10_000, transport=httpx2.MockTransport(pacs))
    sources = list(archive.sources())

    assert {f"{URL}/studies/1.2/series/1.2.1/instances/1.2.1.{number}" for number in (1, 2)} == set(sources)
    assert b"StudyDate=2015" in pacs.requests[0].url.query
    assert all(b"DICM" == archive.read(source)[128:132] for source in sources)


def test_without_a_pacs_there_is_nothing_to_search(tmp_path: Path) -> None:
    """The setting is named."""
    with pytest.raises(PacsNotConfigured, match="EFSNET_PACS_URL"):
        open_archive(Settings.model_validate({"store": tmp_path}), None, "StudyDate=2015")
