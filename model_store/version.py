"""One published version, and whether it still is what was published."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from model_store import files
from model_store.digest import Digest
from model_store.errors import DigestMismatch, FileMissing, FileUnexpected, IntegrityError, ManifestInvalid
from model_store.manifest import MANIFEST, MANIFEST_MAX_BYTES, SIGNATURE, Manifest

SIGNATURE_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Version:
    """A version whose manifest was read; of its other files nothing is believed before it is checked."""

    name: str
    number: int
    digest: Digest
    """Of the bytes of `manifest.json`, which hold the digests of all other files."""
    path: Path
    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.name} {self.number}"

    @classmethod
    def at(cls, path: Path) -> Self:
        """The version in this folder, `…/NAME/versions/NUMBER`.

        Raises:
            FileMissing: There is no manifest.
            DigestMismatch: It was changed.
            ManifestInvalid: It is no manifest, or another version's.
        """
        name, number = path.parent.parent.name, int(path.name)
        content = files.read(path / MANIFEST, MANIFEST_MAX_BYTES)
        if content is None:
            raise FileMissing(f"{name} {number}: {MANIFEST} is missing.")
        try:
            manifest = Manifest.parse(content)
        except (ManifestInvalid, DigestMismatch) as error:
            raise type(error)(f"{name} {number}: {MANIFEST}: {error}") from error
        if (manifest.name, manifest.version) != (name, number):
            raise ManifestInvalid(f"{name} {number}: the folder holds {manifest.name} {manifest.version}.")
        return cls(name, number, Digest.of(content), path, manifest)

    def read(self, relative: str) -> bytes:
        """A file's content, as it was published.

        Raises:
            FileMissing: It is gone, or the version never had it.
            FileUnexpected: Something else than a file is in its place.
            DigestMismatch: Its content was changed.
        """
        if relative == MANIFEST:
            digest, size = self.digest, MANIFEST_MAX_BYTES
        elif relative in self.manifest.files:
            published = self.manifest.files[relative]
            digest, size = Digest("sha256", published.sha256), published.bytes
        else:
            raise FileMissing(f"{self} was published without {relative!r}.")
        content = files.read(self.path / relative, size)
        if content is None:
            raise FileMissing(f"{self}: {relative} is missing.")
        if Digest.of(content) != digest:
            raise DigestMismatch(f"{self}: {relative} is not what was published.")
        return content

    def contents(self) -> Mapping[str, bytes]:
        """Every file's content by its path, the manifest's too, each read once: what was checked is what is given.

        The signature is among them if there is one, as it lies there: what it is worth, `signatures` finds out.

        Raises:
            IntegrityError: The first damage that is found.
        """
        for damage in self._unexpected():
            raise damage
        contents = {relative: self.read(relative) for relative in self._published()}
        signature = self.signature()
        return contents if signature is None else {**contents, SIGNATURE: signature}

    def signature(self) -> bytes | None:
        """The content of `model.sig`, of which nothing is believed yet; None where there is none.

        Raises:
            FileUnexpected: Something else than a file is in its place.
        """
        return files.read(self.path / SIGNATURE, SIGNATURE_MAX_BYTES)

    def damage(self) -> tuple[IntegrityError, ...]:
        """All that differs from what was published."""
        found: list[IntegrityError] = list(self._unexpected())
        for relative in self._published():
            try:
                self.read(relative)
            except IntegrityError as error:
                found.append(error)
        try:
            self.signature()
        except FileUnexpected as error:
            found.append(error)
        return tuple(found)

    def _published(self) -> tuple[str, ...]:
        return MANIFEST, *self.manifest.files

    def _unexpected(self) -> Iterator[FileUnexpected]:
        published = {*self._published(), SIGNATURE}
        folders = {str(parent) for path in published for parent in PurePosixPath(path).parents}
        for folder in sorted(folders):
            for entry in files.entries(self.path / folder):
                relative = str(PurePosixPath(folder, entry.name))
                known_folder = relative in folders and entry.is_dir(follow_symlinks=False)
                if relative not in published and not known_folder:
                    yield FileUnexpected(f"{self}: {relative!r} was not published with it.")
