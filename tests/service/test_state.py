"""Files that the service keeps for itself."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service import state
from service.errors import StateUnusable


def test_every_folder_that_is_made_is_its_owners(tmp_path: Path) -> None:
    """Those in between too: whichever file is written first."""
    with state.writing(tmp_path / "state" / "promotions" / "efsnet.json"):
        pass

    folders = [tmp_path / "state", tmp_path / "state" / "promotions"]
    assert [0o700, 0o700] == [stat.S_IMODE(folder.stat().st_mode) for folder in folders]


def test_a_file_is_refused_rather_than_cut(tmp_path: Path) -> None:
    """Half of a list of keys is not that list."""
    path = tmp_path / "keys.json"
    path.write_bytes(b"x" * state.MAX_BYTES)
    assert state.MAX_BYTES == len(state.read(path) or b"")

    path.write_bytes(b"x" * (state.MAX_BYTES + 1))
    with pytest.raises(StateUnusable, match="more than 1,000,000 bytes"):
        state.read(path)


def test_a_file_system_without_locks_is_told(tmp_path: Path) -> None:
    """With the setting that names another folder."""

    def lock(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with (
        pytest.raises(StateUnusable, match=r"cannot be locked .* EFSNET_STATE names another"),
        state.writing(tmp_path / "keys.json", lock),
    ):
        pass


def test_writers_never_meet_in_a_file(tmp_path: Path) -> None:
    """Though nothing locks: each of them writes the whole, and nothing is left beside it."""
    path, contents = tmp_path / "keys.json", [bytes([letter]) * 50_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda content: state.replace(path, content), contents))

    assert state.read(path) in contents
    assert [path] == [*tmp_path.iterdir()]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A folder in its place, say."""
    path = tmp_path / "keys.json"
    path.mkdir()

    with pytest.raises(StateUnusable, match="cannot be written"):
        state.replace(path, b"x")
    assert [path] == [*tmp_path.iterdir()]
