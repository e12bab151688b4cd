"""The only module that touches the disk: guarded reads, and writes that are durable, exclusive and all or nothing."""

import errno
import filecmp
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from model_store.errors import FileUnexpected, StoreUnusable

TEMPORARY = ".tmp-"
"""Readers skip what begins so."""

STALE_AFTER_S = 3600.0
"""A temporary folder untouched for so long has lost its maker; if not, the maker's last rename fails, and no more."""

_NOT_A_FILE = {errno.ELOOP, errno.EISDIR, errno.ENXIO}
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


@contextmanager
def translated() -> Iterator[None]:
    """What the operating system refuses, as an error of the store."""
    try:
        yield
    except OSError as error:
        raise StoreUnusable(f"{error.filename or 'The store'}: {error.strerror or error}.") from error


@translated()
def entries(folder: Path) -> tuple[os.DirEntry[str], ...]:
    """What is in a folder, by name; nothing where there is no folder."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(found, key=lambda entry: entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return ()


@translated()
def read(path: Path, at_most: int, *, follow: bool = False) -> bytes | None:
    """The first `at_most` + 1 bytes of a regular file, or None where there is nothing.

    A link is not followed unless asked for, a pipe does not block, and a file that has grown costs no memory.

    Raises:
        FileUnexpected: It is not a regular file.
        StoreUnusable: It cannot be read.
    """
    try:
        with open(path, "rb", opener=_unblocked if follow else _unfollowed) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                return file.read(min(status.st_size, at_most) + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno not in _NOT_A_FILE:
            raise
    raise FileUnexpected(f"{path} is not a regular file.")


def status(path: Path) -> tuple[int, ...] | None:
    """What differs once a file is another or was changed, or None where there is nothing that can be looked at.

    The last two numbers are the times of its last changes in nanoseconds, by the clock of its file system.
    """
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _created(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _read_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o444)


def _secret(path: str, flags: int) -> int:
    return os.open(path, flags, 0o400)


@contextmanager
def temporary(parent: Path) -> Iterator[Path]:
    """A folder to make something in, under the parent, so that one rename or link can put it in place."""
    with translated():
        make_folder(parent)
        folder = parent / f"{TEMPORARY}{uuid4().hex}"
        folder.mkdir()
    try:
        _clear_stale(parent, now=folder.stat().st_mtime)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already if it was renamed


@translated()
def make_folder(folder: Path) -> None:
    """The folder with its parents, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@translated()
def write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """A new file that nobody may write to, or even read but its owner; for good once its folder is synced."""
    with open(path, "xb", opener=_secret if secret else _read_only) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@translated()
def remove(path: Path) -> None:
    """Takes a file away."""
    path.unlink()


def remove_empty(folder: Path) -> None:
    """Takes away a folder that holds nothing but empty folders, as an interrupted publisher may leave it."""
    for entry in entries(folder):
        with suppress(OSError):
            Path(entry.path).rmdir()
    with suppress(OSError):
        folder.rmdir()


@translated()
def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """New files by their paths relative to the folder, on the disk for good when this returns."""
    paths = {folder / relative: content for relative, content in contents.items()}
    for path, content in paths.items():
        make_folder(path.parent)
        write(path, content)
    for parent in {path.parent for path in paths}:
        sync(parent)


@translated()
def move_exclusively(folder: Path, target: Path) -> bool:
    """Whether the folder was renamed to the target: not if something is there."""
    make_folder(target.parent)
    made = folder.stat()
    try:
        folder.rename(target)
    except FileNotFoundError:
        # As below: asked for a second time, the server no longer finds what it has moved.
        if not target.exists() or not os.path.samestat(target.stat(), made):
            raise
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    sync(target.parent)
    return True


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A file outside of the store, open from its beginning; a pipe will do."""
    with translated(), path.open("rb") as file:
        yield file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file outside of the store, to be written: at its place only when it is whole, and durable.

    What is there already is not overwritten. It is written as `….part` beside it, which a killed process leaves and
    the next one writes anew: memory sticks have no links, by which files appear in the store.

    Raises:
        StoreUnusable: It cannot be written, or another file is at its place.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb", opener=_created) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not filecmp.cmp(part, path, shallow=False):
            raise StoreUnusable(f"{path} exists already, with another content: choose another name.")
        part.rename(path)
        sync(path.parent)
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


@translated()
def create_exclusively(path: Path, content: bytes, *, made_in: Path | None = None) -> bool:
    """Whether the file was made, in one piece: not if something is there.

    It is made in the folder where it will be, or where nothing temporary may be, in another of the same file system.
    """
    with temporary(made_in or path.parent) as folder:
        whole = folder / path.name
        write(whole, content)
        try:
            path.hardlink_to(whole)
        except FileExistsError:
            # A server that was asked twice, because its first answer was lost, says so of our own link.
            if not path.samefile(whole):
                return False
    sync(path.parent)
    return True


@translated()
def sync(folder: Path) -> None:
    """The folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@translated()
def _clear_stale(parent: Path, *, now: float) -> None:
    """Takes a stale folder away by a rename before emptying it, so that nobody can put it in place half emptied.

    What the time is, the folder's own file system says: on a network it is not this computer's, whose clock may be
    wrong.
    """
    for entry in entries(parent):
        with suppress(FileNotFoundError):  # another process clears it too
            if entry.name.startswith(TEMPORARY) and now - entry.stat().st_mtime > STALE_AFTER_S:
                doomed = parent / f"{TEMPORARY}{uuid4().hex}"
                Path(entry.path).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
