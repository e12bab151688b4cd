"""How a version lies in an OCI registry: its manifest is the artifact's configuration, each other file a layer.

The digest of the configuration is therefore that of the version. Sources: github.com/opencontainers/image-spec,
manifest.md (artifacts: a configuration of an own media type) and annotations.md; a layer's file is named by its title,
as the command line of ORAS does.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from model_store.copies.arrival import limits
from model_store.digest import Digest, DigestText
from model_store.errors import CopyInvalid
from model_store.manifest import MANIFEST, MANIFEST_MAX_BYTES, SIGNATURE, Manifest, explained

MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.efsnet.version.v1"
CONFIGURATION_TYPE = "application/vnd.efsnet.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
ARTIFACT_MAX_BYTES = 4_000_000
"""What the distribution specification recommends registries to accept."""


class _Part(BaseModel):
    """A part of an artifact's manifest. Members that are not known here are let through, as the standard asks."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Blob(_Part):
    """Content in a registry, by its digest."""

    media_type: str
    digest: DigestText
    size: Annotated[int, Field(ge=0)]
    annotations: Mapping[str, str] = {}


class Listing(_Part):
    """The manifest of an artifact, which lists what is in it."""

    schema_version: Literal[2] = 2
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] = MEDIA_TYPE
    artifact_type: str | None = None
    config: Blob
    layers: tuple[Blob, ...]
    annotations: Mapping[str, str] = {}


class Artifact(Listing):
    """That of a version."""

    artifact_type: str | None = ARTIFACT_TYPE

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> Self:
        """The artifact of a version, whose files these are by their paths.

        Raises:
            CopyInvalid: They are too many, or too large.
        """
        manifest = Manifest.parse(contents[MANIFEST])
        limits(manifest)
        return cls(
            config=blob_of(MANIFEST, contents[MANIFEST], CONFIGURATION_TYPE),
            layers=tuple(blob_of(path, content) for path, content in contents.items() if path != MANIFEST),
            annotations={
                TITLE: f"{manifest.name} {manifest.version}",
                "org.opencontainers.image.version": str(manifest.version),
                "org.opencontainers.image.created": manifest.created_at.isoformat(),
                "org.opencontainers.image.revision": manifest.code_commit,
                "org.opencontainers.image.licenses": manifest.licence,
            },
        )

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """The artifact that a registry holds.

        Raises:
            CopyInvalid: It is none, or not that of a version.
        """
        try:
            artifact = cls.model_validate_json(text)
        except ValidationError as error:
            raise CopyInvalid(f"There is no version of a model: {explained(error)}.") from error
        if artifact.config.media_type != CONFIGURATION_TYPE:
            raise CopyInvalid(f"There is no version of a model: its configuration is not {CONFIGURATION_TYPE}.")
        if artifact.config.size > MANIFEST_MAX_BYTES:
            raise CopyInvalid(f"A manifest has at most {MANIFEST_MAX_BYTES} bytes.")
        return artifact

    @property
    def files(self) -> Mapping[str, Blob]:
        """The layers by the paths of their files; nameless ones by an empty path."""
        return {layer.annotations.get(TITLE, ""): layer for layer in self.layers}

    def listed(self, manifest: Manifest) -> Mapping[str, Blob]:
        """The layers by the paths of their files, which are those that the version's manifest has.

        Raises:
            CopyInvalid: The two differ.
        """
        listed, most = self.files, limits(manifest)
        claims = {path: (layer.digest.hex, layer.size) for path, layer in listed.items() if path != SIGNATURE}
        published = {path: (file.sha256, file.bytes) for path, file in manifest.files.items()}
        if differing := sorted(path for path in {*claims, *published} if claims.get(path) != published.get(path)):
            raise CopyInvalid(f"The registry's list of files and {MANIFEST} differ in {differing[0]!r}.")
        if len(listed) < len(self.layers):
            raise CopyInvalid("The registry lists a file twice.")
        if SIGNATURE in listed and listed[SIGNATURE].size > most[SIGNATURE]:
            raise CopyInvalid(f"{SIGNATURE} is too large: it may have {most[SIGNATURE]} bytes.")
        return listed


def blob_of(path: str, content: bytes, media_type: str = "application/octet-stream") -> Blob:
    """How a file of this path is listed."""
    return Blob(media_type=media_type, digest=Digest.of(content), size=len(content), annotations={TITLE: path})
