"""The disk: what is half made is never seen, and the system's refusals are errors of the store."""

import os
import stat
import time
from pathlib import Path

import pytest

from model_store import files
from model_store.errors import FileUnexpected, StoreUnusable


def test_a_temporary_folder_lasts_as_long_as_the_work(tmp_path: Path) -> None:
    """It goes when the work is done, and when it fails."""
    with files.temporary(tmp_path / "a" / "b") as folder:
        files.write_all(folder, {"x/y": b"1"})
        assert folder.parent == tmp_path / "a" / "b"
    assert [] == list((tmp_path / "a" / "b").iterdir())

    with pytest.raises(KeyError), files.temporary(tmp_path) as folder:
        raise KeyError
    assert not folder.exists()


def test_what_a_killed_process_left_is_taken_away_after_an_hour(tmp_path: Path) -> None:
    """Younger folders may still be somebody's work."""
    for name, age_s in ((".tmp-old", 3700), (".tmp-new", 3500), ("old", 3700)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "nowhere")

    with files.temporary(tmp_path):
        pass

    assert [".tmp-link", ".tmp-new", "old"] == [entry.name for entry in files.entries(tmp_path)]


def test_who_slept_too_long_cannot_put_the_rest_in_place(tmp_path: Path) -> None:
    """A folder that was cleared away under its maker's hands fails to move, and nothing half is seen."""
    with files.temporary(tmp_path) as slept:
        files.write(slept / "file", b"")
        os.utime(slept, (0, 0))
        with files.temporary(tmp_path):
            pass
        with pytest.raises(StoreUnusable, match="No such file"):
            files.move_exclusively(slept, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_a_folder_is_moved_only_where_nothing_is(tmp_path: Path, what: str) -> None:
    """What is there stays as it is."""
    target = tmp_path / "target"
    if what == "folder":
        files.write_all(tmp_path, {"target/there": b"1"})
    elif what == "file":
        target.write_bytes(b"1")
    else:
        target.symlink_to(tmp_path)
    files.write_all(tmp_path, {"source/file": b"2"})

    assert not files.move_exclusively(tmp_path / "source", target)
    assert not (target / "file").exists()
    assert (tmp_path / "source" / "file").exists()


def test_a_folder_that_cannot_be_moved_is_an_error(tmp_path: Path) -> None:
    """Other reasons than a taken place are not mistaken for it."""
    with pytest.raises(StoreUnusable):
        files.move_exclusively(tmp_path / "missing", tmp_path / "target")


def test_a_file_is_created_once(tmp_path: Path) -> None:
    """The second comer changes nothing and learns it."""
    assert files.create_exclusively(tmp_path / "1.json", b"first")
    assert not files.create_exclusively(tmp_path / "1.json", b"second")
    assert b"first" == files.read(tmp_path / "1.json", 5)
    assert ["1.json"] == [entry.name for entry in files.entries(tmp_path)]


class LostAnswers(type(Path())):  # type: ignore[misc]
    """Paths of a server whose first answer to a change is lost: it is asked again, when all is done."""

    def hardlink_to(self, target: Path) -> None:
        Path(str(self)).hardlink_to(target)
        Path(str(self)).hardlink_to(target)

    def rename(self, target: Path) -> None:
        Path(str(self)).rename(target)
        Path(str(self)).rename(target)


def test_a_lost_answer_does_not_hide_what_was_done(tmp_path: Path) -> None:
    """A link that is there is ours if it is the same file, a folder that is gone was moved if it is there."""
    assert files.create_exclusively(LostAnswers(tmp_path / "1.json"), b"first")
    assert not files.create_exclusively(LostAnswers(tmp_path / "1.json"), b"second")
    assert b"first" == files.read(tmp_path / "1.json", 5)

    files.write_all(tmp_path, {"source/file": b"2"})
    assert files.move_exclusively(LostAnswers(tmp_path / "source"), tmp_path / "target")
    assert b"2" == files.read(tmp_path / "target" / "file", 5)


def test_a_file_can_be_made_elsewhere(tmp_path: Path) -> None:
    """Where nothing temporary may be beside it."""
    (tmp_path / "a").mkdir()

    assert files.create_exclusively(tmp_path / "a" / "file", b"1", made_in=tmp_path / "b")
    assert ["file"] == [entry.name for entry in files.entries(tmp_path / "a")]
    assert [] == list((tmp_path / "b").iterdir())


def test_a_secret_is_its_owners(tmp_path: Path) -> None:
    """Nobody else may even read it."""
    files.write(tmp_path / "key", b"", secret=True)

    assert 0o400 == stat.S_IMODE((tmp_path / "key").stat().st_mode)


def test_links_are_followed_where_that_is_asked(tmp_path: Path) -> None:
    """And nowhere else."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")

    assert b"x" == files.read(tmp_path / "link", 9, follow=True)
    with pytest.raises(FileUnexpected):
        files.read(tmp_path / "link", 9)


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    """One byte more shows that there is more."""
    (tmp_path / "file").write_bytes(bytes(100))

    assert 11 == len(files.read(tmp_path / "file", 10) or b"")
    assert 100 == len(files.read(tmp_path / "file", 10**18) or b"")


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    """Missing, or under a file."""
    (tmp_path / "file").write_bytes(b"")

    assert None is files.read(tmp_path / "missing", 1)
    assert None is files.read(tmp_path / "file" / "x", 1)
    assert () == files.entries(tmp_path / "missing")
    assert () == files.entries(tmp_path / "file")


def test_devices_are_not_read() -> None:
    """A disk full of zeros is not a version."""
    with pytest.raises(FileUnexpected):
        files.read(Path("/dev/zero"), 10)


def test_the_systems_words_are_kept(tmp_path: Path) -> None:
    """With the path they are about, and the cause chained."""
    with pytest.raises(StoreUnusable, match="File name too long") as raised:
        files.read(tmp_path / ("x" * 300), 1)

    assert isinstance(raised.value.__cause__, OSError)


def test_a_refusal_without_words_is_told_too() -> None:
    """The system need not say which file it means."""
    with pytest.raises(StoreUnusable, match="odd"), files.translated():
        raise OSError("odd")


def test_only_empty_folders_are_taken_away(tmp_path: Path) -> None:
    """A frame that an interrupted publisher left goes; whatever holds a file stays."""
    (tmp_path / "frame" / "versions").mkdir(parents=True)
    files.write_all(tmp_path, {"model/versions/1/file": b"", "odd/file": b""})

    for name in ("frame", "model", "odd", "missing"):
        files.remove_empty(tmp_path / name)

    assert ["model", "odd"] == [entry.name for entry in files.entries(tmp_path)]
    assert (tmp_path / "model" / "versions" / "1" / "file").exists()
