"""Where the images of an archive are: a folder, a bucket, or what a search of the PACS finds."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import httpx2
from pyarrow.fs import FileSelector, FileSystem, FileType

from service.errors import ArchiveUnusable, BodyTooLarge, PacsNotConfigured
from service.jobs.job import Subject
from service.metrics import Metrics
from service.pacs.client import PacsClient
from service.pacs.sweep import studies
from service.settings import Settings

_INSTANCE = re.compile(r".*/studies/([0-9.]+)/series/([0-9.]+)/instances/([0-9.]+)")


class Archive(Protocol):
    """Images, each by a URI that stays its own."""

    def sources(self) -> Iterator[str]:
        """The URI of each image, once.

        Raises:
            ArchiveUnusable, PacsError: A part of the archive cannot be listed.
        """
        ...

    def read(self, source: str) -> bytes:
        """The file of an image.

        Raises:
            OSError, PacsError: It cannot be read.
            BodyTooLarge: It is larger than is taken.
        """
        ...


def open_archive(settings: Settings, place: str | None, query: str | None) -> Archive:
    """The archive at a place, or behind a search.

    Args:
        settings: How to reach the PACS, and how large a file may be.
        place: A folder, or the URI of one in a bucket as pyarrow names it, such as `s3://archive/2015`.
        query: Of QIDO-RS, in place of that.

    Raises:
        PacsNotConfigured: There is no PACS to search.
        ArchiveUnusable: There is no such folder, or no such kind of bucket.
    """
    max_bytes = settings.max_dicom_bytes
    if place is None:
        return Pacs(settings, query or "", max_bytes)
    return Bucket(place, max_bytes) if "://" in place else Folder(Path(place), max_bytes)


class Folder:
    """All files below a folder. Python walks it itself: pyarrow stops at a name that is no UTF-8."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root.absolute()
        self._max_bytes = max_bytes
        if not self._root.is_dir():
            raise ArchiveUnusable(f"{root} is no folder.")

    def sources(self) -> Iterator[str]:
        """As `file:///…`, with each byte escaped that a URI cannot hold. Links to folders are not followed."""
        for folder, folders, names in os.walk(self._root, onerror=_refuse):
            folders.sort()
            for path in (Path(folder, name) for name in sorted(names)):
                if path.is_file():  # neither a pipe, which never ends, nor a link to nowhere
                    yield path.as_uri()

    def read(self, source: str) -> bytes:
        with Path(os.fsdecode(unquote_to_bytes(urlsplit(source).path))).open("rb") as file:
            return _within(file.read(self._max_bytes + 1), self._max_bytes)


class Bucket:
    """All objects below a place of an object store."""

    def __init__(self, place: str, max_bytes: int) -> None:
        self._scheme = urlsplit(place).scheme
        self._max_bytes = max_bytes
        try:
            self._files, self._root = FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise ArchiveUnusable(f"{self._scheme}://… cannot be opened: {error}") from error

    def sources(self) -> Iterator[str]:
        """As the place is written, without what may stand behind its `?`."""
        try:
            found = self._files.get_file_info(FileSelector(self._root, recursive=True))
        except OSError as error:
            raise ArchiveUnusable(f"{self._scheme}://{self._root} cannot be listed: {error}") from error
        for info in sorted(found, key=lambda info: info.path):
            if info.type is FileType.File:
                yield f"{self._scheme}://{info.path}"

    def read(self, source: str) -> bytes:
        with self._files.open_input_stream(source.removeprefix(f"{self._scheme}://")) as file:
            return _within(file.read(self._max_bytes + 1), self._max_bytes)


class Pacs:
    """The ultrasound instances of the studies that a search finds, by their addresses in WADO-RS."""

    def __init__(
        self, settings: Settings, query: str, max_bytes: int, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        if not settings.pacs.url:
            raise PacsNotConfigured("There is no PACS: set EFSNET_PACS_URL, as docs/pacs.md tells.")
        self._url = settings.pacs.url
        self._query = dict(parse_qsl(query))
        self._client = PacsClient(settings.pacs, Metrics(""), max_bytes=max_bytes, transport=transport)

    def sources(self) -> Iterator[str]:
        for study in studies(self._client, self._query):
            for found in self._client.instances(study):
                series = f"{self._url}/studies/{study}/series/{found.series_instance_uid}"
                yield f"{series}/instances/{found.sop_instance_uid}"

    def read(self, source: str) -> bytes:
        uids = _INSTANCE.fullmatch(source)
        if uids is None:
            raise FileNotFoundError(source)
        return self._client.retrieve(Subject(*uids.groups()))


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would be missing from the results, and nobody would know."""
    raise ArchiveUnusable(f"{error.filename} cannot be listed: {error.strerror}.") from error


def _within(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise BodyTooLarge(f"The file is larger than {max_bytes:,} bytes.")
    return content
