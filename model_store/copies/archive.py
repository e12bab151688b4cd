"""A version as one tar, for sites without a network.

Only what `write` makes is read: POSIX ustar without extensions, `NAME/versions/NUMBER/manifest.json` first, then the
files that it lists, each once, and nothing else. By the time that a member's name or size is looked at, the manifest
has said which names there are and how large each may be, so that no name leads elsewhere and no size is believed.

Source of the format: POSIX.1-2017, pax, "ustar Interchange Format".
"""

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from model_store import files
from model_store.copies.arrival import limits
from model_store.errors import CopyInvalid, ModelStoreError
from model_store.manifest import MANIFEST, MANIFEST_MAX_BYTES, Manifest
from model_store.version import Version

_FIRST = re.compile(rf"([a-z][a-z0-9_-]{{0,63}}/versions/[1-9][0-9]{{0,8}}/){re.escape(MANIFEST)}")
_REGULAR = {tarfile.REGTYPE, tarfile.AREGTYPE}


def write(version: Version, path: Path) -> None:
    """A version as a tar, the same bytes whenever it is written; it is at its place only when it is whole.

    Args:
        version: Of a store; a damaged one is not written.
        path: Of the archive. A file that is there is not replaced, unless it is the same.

    Raises:
        IntegrityError: The version is damaged.
        CopyInvalid: It is too large for a copy, or a file's name too long for a tar.
        StoreUnusable: The archive cannot be written, or another file is there.
    """
    limits(version.manifest)
    contents = version.contents()
    moment = int(version.manifest.created_at.timestamp())
    with files.replacing(path) as file:
        for relative, content in contents.items():
            file.write(_header(f"{_folder(version.manifest)}{relative}", len(content), moment))
            file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def read(path: Path) -> Mapping[str, bytes]:
    """The files in an archive by their paths, each no larger than its manifest says; their digests are not checked.

    Raises:
        CopyInvalid: It is not as `write` makes it.
        IntegrityError: Its manifest is none.
        StoreUnusable: It cannot be read.
    """
    with files.reading(path) as file:
        try:
            return _contents(file)
        except ModelStoreError as error:
            raise type(error)(f"{path}: {error}") from error


def _contents(file: BinaryIO) -> Mapping[str, bytes]:
    first = _member(file)
    if first is None or not (match := _FIRST.fullmatch(first.name)):
        raise CopyInvalid(f"An archive begins with NAME/versions/NUMBER/{MANIFEST}: take one that `export` wrote.")
    contents = {MANIFEST: _content(file, first, MANIFEST_MAX_BYTES)}
    manifest = Manifest.parse(contents[MANIFEST])
    if match[1] != _folder(manifest):
        raise CopyInvalid(f"{first.name} is that of {manifest.name} {manifest.version}.")
    allowed = {f"{match[1]}{path}": (path, size) for path, size in limits(manifest).items()}
    while member := _member(file):
        if member.name not in allowed:
            raise CopyInvalid(f"{member.name!r} is there twice, or does not belong to the version.")
        path, size = allowed.pop(member.name)
        contents[path] = _content(file, member, size)
    return contents


def _folder(manifest: Manifest) -> str:
    return f"{manifest.name}/versions/{manifest.version}/"


def _header(name: str, size: int, moment: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o444, moment
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError as error:
        raise CopyInvalid(f"{name!r} cannot be in an archive: {error}.") from error


def _member(file: BinaryIO) -> tarfile.TarInfo | None:
    """The next header, or None at the end, behind which nothing may be."""
    block = file.read(tarfile.BLOCKSIZE)
    try:
        member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
        if file.read(tarfile.RECORDSIZE).strip(b"\0"):
            raise CopyInvalid("There is something behind the archive's end.") from None
        return None
    except (tarfile.HeaderError, ValueError) as error:
        raise CopyInvalid("It is no tar archive, or was cut off or changed.") from error
    if member.type not in _REGULAR:
        raise CopyInvalid(f"{member.name!r} is not a regular file.")
    return member


def _content(file: BinaryIO, member: tarfile.TarInfo, at_most: int) -> bytes:
    if not 0 <= member.size <= at_most:
        raise CopyInvalid(f"{member.name} claims {member.size} bytes; it may have {at_most}.")
    content = file.read(member.size)
    padding = file.read(-member.size % tarfile.BLOCKSIZE)
    if len(content) < member.size or len(padding) < -member.size % tarfile.BLOCKSIZE:
        raise CopyInvalid(f"The archive ends within {member.name}.")
    return content
