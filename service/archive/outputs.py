"""The folder of a run: on a disk that all its machines share, or in a bucket."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from service.errors import ArchiveUnusable, OutputsExist


class Outputs:
    """Files by their names below the folder; each is there as a whole or not at all.

    Args:
        place: A folder, or the URI of one in a bucket as pyarrow names it.
    """

    def __init__(self, place: str) -> None:
        if "://" not in place:
            self._files, self._root = LocalFileSystem(), str(Path(place).absolute())
            return
        try:
            self._files, self._root = FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise ArchiveUnusable(f"The folder for the results cannot be opened: {error}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """The run for one command alone; in a bucket nobody can be kept out.

        Raises:
            OutputsExist: Another command is at it.
        """
        if not isinstance(self._files, LocalFileSystem):
            yield
            return
        self._files.create_dir(self._root, recursive=True)
        with Path(self._path("lock")).open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputsExist(f"Another command is at the run in {self._root}.") from error
            yield

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file that appears under its name when all of it is written, in place of one that is there."""
        path, unfinished = self._path(name), self._path(f"unfinished/{uuid.uuid4().hex}")
        for each in (path, unfinished):
            self._files.create_dir(each.rpartition("/")[0], recursive=True)
        try:
            with self._files.open_output_stream(unfinished) as file:
                yield file
            # A part that is there is never made again: a power cut must not leave it empty.
            self._sync(unfinished)
            self._files.move(unfinished, path)
            self._sync(path.rpartition("/")[0])
        except BaseException:
            if self._files.get_file_info(unfinished).type is FileType.File:
                self._files.delete_file(unfinished)
            raise

    def write(self, name: str, content: bytes) -> None:
        """Writes a whole file."""
        with self.writing(name) as file:
            file.write(content)

    def open(self, name: str) -> IO[bytes]:
        """A file, to be read here and there.

        Raises:
            FileNotFoundError: It is not there.
        """
        found: IO[bytes] = self._files.open_input_file(self._path(name))
        return found

    def read(self, name: str) -> bytes | None:
        """A whole file; None if it is not there."""
        try:
            with self.open(name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Of the files in a folder, in their order."""
        found = self._files.get_file_info(FileSelector(self._path(folder), allow_not_found=True))
        return sorted(info.base_name for info in found if info.type is FileType.File)

    def remove(self, name: str) -> None:
        """A file, or a folder with all in it; it is no matter if it is not there."""
        path = self._path(name)
        kind = self._files.get_file_info(path).type
        if kind is FileType.File:
            self._files.delete_file(path)
        elif kind is FileType.Directory:
            self._files.delete_dir(path)

    def _sync(self, path: str) -> None:
        """What is in a file or folder, on the disk; a bucket sees to that itself."""
        if isinstance(self._files, LocalFileSystem):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
