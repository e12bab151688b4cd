"""What the service keeps for itself, in a folder of its own: its API keys, and the newest promotions it has seen."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from service.errors import StateUnusable

MAX_BYTES = 1_000_000


def read(path: Path) -> bytes | None:
    """The content of a file, or None where there is none.

    Raises:
        StateUnusable: It cannot be read, or is larger than anything that is kept here.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise StateUnusable(f"{path} has more than {MAX_BYTES:,} bytes: restore it from a copy.")
    return content


@contextmanager
def writing(path: Path, lock_file: Callable[[int, int], None] = fcntl.flock) -> Iterator[None]:
    """The time in which no other process changes the file. Others may read it meanwhile.

    Raises:
        StateUnusable: Its folder cannot be written to, or its file system has no locks.
    """
    try:
        _make_folder(path.parent)
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(
            f"{error.filename} cannot be written: {error.strerror}. EFSNET_STATE names another folder."
        ) from error
    try:
        try:
            lock_file(lock, fcntl.LOCK_EX)  # let go of when it is closed, also by a killed process
        except OSError as error:
            raise StateUnusable(
                f"{path.parent} is where files cannot be locked ({error.strerror}): EFSNET_STATE names another folder."
            ) from error
        yield
    finally:
        os.close(lock)


def replace(path: Path, content: bytes) -> None:
    """The file with this content, for its owner alone, the old one or the new one whole whatever is killed when.

    Raises:
        StateUnusable: It cannot be written.
    """
    # A name of its own, lest two writers meet in it where a file system's locks do not hold.
    new = path.with_name(f"{path.stem}.{uuid4().hex}.new")
    try:
        with open(new, "wb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise StateUnusable(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            new.unlink()


def _make_folder(folder: Path) -> None:
    """The folder and its parents, each for its owner alone."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
