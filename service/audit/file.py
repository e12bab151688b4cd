"""The audit file: appended to by whoever has its lock, and begun anew when it is large."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.audit.chain import Link

TAIL_BYTES = 65_536
"""Read from the end for the last line; none is as long."""


class AuditFile:
    """A file of lines, for several processes of one machine: the service, and commands that make or revoke keys.

    Args:
        path: The file that is written to. Those that are full lie beside it, named by the number of their first line.
        max_bytes: From which size on a new one is begun.
        kept: How many full ones are kept; 0 keeps all.
    """

    def __init__(self, path: Path, *, max_bytes: int, kept: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._mark: tuple[int, int] | None = None
        self._end = Link()

    def append(self, contents: Sequence[Mapping[str, Any]]) -> None:
        """Writes lines, which are on the disk when this returns.

        Raises:
            OSError: They are not, or not all.
        """
        with self._locked():
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                end = self._found(descriptor)
                lines = []
                for content in contents:
                    lines.append(end.line(content))
                    end = end.after(lines[-1])
                _write(descriptor, b"".join(lines))
                self._end, self._mark = end, _mark(descriptor)
                if os.fstat(descriptor).st_size > self._max_bytes:
                    self._begin_anew()
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Nothing is open between two lines."""

    def full(self) -> list[Path]:
        """The files that are full, the oldest first."""
        return sorted(self.path.parent.glob(f"{self.path.stem}.*[0-9]{self.path.suffix}"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _found(self, descriptor: int) -> Link:
        """The end of the chain: as this process left it, or as another did."""
        if self._mark is not None and self._mark == _mark(descriptor):
            return self._end
        size = os.fstat(descriptor).st_size
        if not size:
            return self._of_last_full()
        tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            # The writer was ended in the middle of a line, for which nothing was answered.
            os.ftruncate(descriptor, size - len(tail) + whole)
        lines = tail[:whole].splitlines()
        return Link.at(lines[-1]) if lines else self._of_last_full()

    def _of_last_full(self) -> Link:
        full = self.full()
        if not full:
            return Link()
        with full[-1].open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return Link.at(file.read().splitlines()[-1])

    def _begin_anew(self) -> None:
        with self.path.open("rb") as file:
            first = Link.at(file.readline().rstrip(b"\n")).sequence
        self.path.rename(self.path.with_suffix(f".{first:012}{self.path.suffix}"))
        self._mark = None
        for old in self.full()[: -self._kept] if self._kept else ():
            old.unlink()


def _mark(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size


def _write(descriptor: int, data: bytes) -> None:
    """All of it, or none of it is there for the next who looks."""
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes were written")  # noqa: TRY301 (undone below, as all else)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
