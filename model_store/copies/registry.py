"""Versions in an OCI registry, whose word is not taken for anything: `oras` does not check what it gets."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from model_store.copies.artifact import ARTIFACT_MAX_BYTES, MEDIA_TYPE, Artifact, Blob, Listing
from model_store.copies.client import Client, received, translated
from model_store.copies.repository import Access, Repository
from model_store.digest import Digest
from model_store.errors import (
    AlreadySigned,
    CopyInvalid,
    DigestMismatch,
    IntegrityError,
    RegistryUnusable,
    VersionTaken,
    VersionUnknown,
)
from model_store.manifest import MANIFEST, SIGNATURE, Manifest
from model_store.version import Version


@contextmanager
def connected(repository: Repository, access: Access) -> Iterator["Registry"]:
    """The registry, ready for requests.

    Raises:
        RegistryUnusable: It cannot be reached, its certificate is not trusted, or it wants somebody known.
    """
    client = Client(repository, access)
    with client.session:
        with translated(repository):
            client.authenticate(access)
        yield Registry(repository, client)


@dataclass(frozen=True, slots=True)
class Registry:
    """A repository that answers; tags are the numbers of versions, and one is that of their promotions."""

    repository: Repository
    client: Client

    def push(self, version: Version) -> bool:
        """Whether the version was not in the registry before, whole; it is now.

        The tag is written last: who pulls never sees a part. Two who push the same number at the same moment are not
        kept apart by a registry; whoever pulls sees one or the other.

        Raises:
            IntegrityError: The version is damaged.
            VersionTaken: The registry has another version of this number.
            AlreadySigned: It has this one with another signature.
            CopyInvalid: The version is too large for a copy.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        contents = version.contents()
        artifact = Artifact.of(contents)
        if (there := self.artifact(version.number)) and self._is_same(version, artifact, there):
            return False
        for path, blob in {MANIFEST: artifact.config, **artifact.listed(version.manifest)}.items():
            self.upload(version.path / path, blob)
        self.tag(str(version.number), artifact)
        return True

    def pull(self, number: int) -> Mapping[str, bytes]:
        """The files of a version by their paths, each with the digest that its manifest says.

        Raises:
            VersionUnknown: The registry has no such version.
            CopyInvalid: What it has under this number is no version, another one, or differs from its manifest.
            IntegrityError: A file or the manifest was changed.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        artifact = self.artifact(number)
        if artifact is None:
            raise VersionUnknown(f"{self.repository} has no version {number}.")
        try:
            return self._contents(artifact, number)
        except (CopyInvalid, IntegrityError) as error:
            raise type(error)(f"{self.repository}:{number}: {error}") from error

    def artifact(self, number: int) -> Artifact | None:
        """How a version of this number is listed, of which nothing is believed yet; None where there is none.

        Raises:
            CopyInvalid: There is something else.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        text = self.listing(str(number))
        try:
            return Artifact.parse(text) if text is not None else None
        except CopyInvalid as error:
            raise CopyInvalid(f"{self.repository}:{number}: {error}") from error

    def listing(self, tag: str) -> bytes | None:
        """The text that lists what is under a tag, None where there is none.

        Raises:
            CopyInvalid: It is too long.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        url = f"{self.client.prefix}://{self.client.container.manifest_url(tag)}"
        with translated(self.repository):
            response = self.client.do_request(url, headers={"Accept": MEDIA_TYPE}, stream=True)
            text = received(response, ARTIFACT_MAX_BYTES)
        if response.status_code == requests.codes.not_found:
            return None
        if text is None:
            raise CopyInvalid(f"{self.repository}:{tag} is more than the list of an artifact's files.")
        return text

    def download(self, path: str, blob: Blob) -> bytes:
        """The content of a file that is listed, which has the digest and at most the size that the list says.

        Raises:
            DigestMismatch: It has another one.
            RegistryUnusable: The registry has lost it, cannot be reached, or refuses.
        """
        with translated(self.repository):
            response = self.client.get_blob(self.client.container, str(blob.digest), stream=True)
            content = received(response, blob.size)
        if response.status_code == requests.codes.not_found:
            raise RegistryUnusable(f"{self.repository} has lost {path}: push or announce it again.")
        if content is None or Digest.of(content) != blob.digest:
            raise DigestMismatch(f"{path} is not what was pushed.")
        return content

    def upload(self, path: Path, blob: Blob) -> None:
        """Brings a file there, unless the registry has it.

        Raises:
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        layer = {"digest": str(blob.digest), "size": blob.size}
        with translated(self.repository):
            self.client.upload_blob(str(path), self.client.container, layer)

    def tag(self, tag: str, listing: Listing) -> None:
        """Makes a tag mean what is listed, of which every file is there.

        Raises:
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        with translated(self.repository):
            self.client.container.tag = tag
            self.client.upload_manifest(listing.model_dump(mode="json", by_alias=True), self.client.container)

    def _contents(self, artifact: Artifact, number: int) -> Mapping[str, bytes]:
        text = self.download(MANIFEST, artifact.config)
        manifest = Manifest.parse(text)
        if manifest.version != number:
            raise CopyInvalid(f"There is version {manifest.version} instead.")
        layers = artifact.listed(manifest)
        return {MANIFEST: text, **{path: self.download(path, blob) for path, blob in layers.items()}}

    def _is_same(self, version: Version, own: Artifact, there: Artifact) -> bool:
        if there.config.digest != own.config.digest:
            raise VersionTaken(
                f"{self.repository}:{version.number} is taken: there it is {there.config.digest}, "
                f"here {own.config.digest}. Nothing was changed."
            )
        theirs = {path: blob for path, blob in there.files.items() if path == SIGNATURE}
        if SIGNATURE in own.files and theirs not in ({}, {SIGNATURE: own.files[SIGNATURE]}):
            raise AlreadySigned(f"{self.repository}:{version.number} has another signature. Nothing was changed.")
        return there.files == {**theirs, **own.files}
