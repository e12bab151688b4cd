"""A version's own check: any damage is found, named, and refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.errors import DigestMismatch, FileMissing, FileUnexpected, IntegrityError
from model_store.version import Version

FILES = ["MODEL_CARD.md", "manifest.json", "model.onnx", "reference/squares.label_map.png", "reference/squares.png"]


def overwrite(path: Path, content: bytes) -> None:
    """Writes to a read-only file."""
    path.chmod(0o644)
    path.write_bytes(content)


def flip(path: Path) -> None:
    """Changes one bit."""
    content = path.read_bytes()
    middle = len(content) // 2
    overwrite(path, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def exchange(path: Path, put: Callable[[Path], None]) -> None:
    """Puts something else in a file's place."""
    path.unlink()
    put(path)


DAMAGES: list[tuple[Callable[[Path], object], type[IntegrityError]]] = [
    (flip, DigestMismatch),
    (lambda path: overwrite(path, path.read_bytes()[:-1]), DigestMismatch),
    (lambda path: overwrite(path, path.read_bytes() + b"\0"), DigestMismatch),
    (lambda path: overwrite(path, b""), DigestMismatch),
    (lambda path: overwrite(path, bytes(10_000_000)), DigestMismatch),
    (Path.unlink, FileMissing),
    (lambda path: path.rename(path.with_name("renamed")), FileUnexpected),
    (lambda path: path.rename(path.parent / path.name.swapcase()), FileUnexpected),
    (lambda path: exchange(path, Path.mkdir), FileUnexpected),
    (lambda path: exchange(path, os.mkfifo), FileUnexpected),
    (lambda path: path.symlink_to(path.rename(path.parents[3] / "moved")), FileUnexpected),
]


def test_the_files_of_a_version_are_those_of_its_manifest(version: Version) -> None:
    """These, and the manifest itself."""
    assert FILES == sorted(version.contents())


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    ("damage", "error"),
    DAMAGES,
    ids=["flip", "truncate", "append", "empty", "zeros", "delete", "rename", "case", "folder", "pipe", "link"],
)
def test_any_damage_to_any_file_is_found_and_named(
    version: Version, path: str, damage: Callable[[Path], object], error: type[IntegrityError]
) -> None:
    """The manifest included, where it was changed after the version was found."""
    damage(version.path / path)

    with pytest.raises(error, match=r"efsnet 1|not a regular file"):
        version.contents()
    assert any(Path(path).name in str(found) for found in version.damage())


@pytest.mark.parametrize("path", [".DS_Store", "model.onnx.bak", "reference/more.png", "reference/a/b", "other/x"])
def test_what_was_not_published_is_found_and_named(version: Version, path: str) -> None:
    """Hidden files and those in folders of their own too."""
    (version.path / path).parent.mkdir(exist_ok=True, parents=True)
    (version.path / path).write_bytes(b"x")

    with pytest.raises(FileUnexpected, match=Path(path).parts[0]):
        version.contents()
    assert 1 == len(version.damage())


def test_a_strange_name_does_not_reach_the_terminal(version: Version) -> None:
    """Control characters and broken encodings are escaped."""
    Path(os.fsdecode(bytes(version.path) + b"/\x1b[2J\xff")).write_bytes(b"")

    (found,) = version.damage()

    assert r"'\x1b[2J\udcff'" in str(found)


def test_a_folder_exchanged_for_a_link_is_found(version: Version) -> None:
    """Even if it leads to the right files."""
    moved = (version.path / "reference").rename(version.path.parents[2] / "moved")
    (version.path / "reference").symlink_to(moved)

    with pytest.raises(FileUnexpected, match="reference"):
        version.contents()


def test_all_damage_is_told_at_once(version: Version) -> None:
    """For who repairs it."""
    flip(version.path / "model.onnx")
    (version.path / "MODEL_CARD.md").unlink()
    (version.path / "more").write_bytes(b"")

    assert {DigestMismatch, FileMissing, FileUnexpected} == {type(error) for error in version.damage()}


def test_a_file_that_was_never_published_is_missing(version: Version) -> None:
    """Whether it exists on the disk or not."""
    (version.path / "more").write_bytes(b"")
    for path in ("more", "weights.safetensors", "../../../etc/passwd", "/etc/passwd", "reference"):
        with pytest.raises(FileMissing, match="published without"):
            version.read(path)


def test_a_changed_file_is_not_read(version: Version) -> None:
    """Each reading is checked by itself."""
    flip(version.path / "model.onnx")

    with pytest.raises(DigestMismatch, match=r"efsnet 1: model\.onnx"):
        version.read("model.onnx")
    assert b"# Brightness\n" == version.read("MODEL_CARD.md")
