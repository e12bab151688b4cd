"""How a version lies in a registry, and lists that lie."""

import json
from typing import Any

import pytest

from model_store.copies.arrival import CONTENT_MAX_BYTES
from model_store.copies.artifact import Artifact
from model_store.errors import CopyInvalid
from model_store.manifest import MANIFEST, SIGNATURE, FileDigest
from model_store.version import SIGNATURE_MAX_BYTES, Version

TITLE = "org.opencontainers.image.title"


@pytest.fixture
def listed(version: Version) -> dict[str, Any]:
    """The artifact of version 1 as its JSON."""
    content: dict[str, Any] = Artifact.of(version.contents()).model_dump(mode="json", by_alias=True)
    return content


def parsed(content: object) -> Artifact:
    """The artifact that a registry would give."""
    return Artifact.parse(json.dumps(content).encode())


def test_an_artifact_is_of_the_standard_form(listed: dict[str, Any], version: Version) -> None:
    """The configuration is the manifest, so that its digest is the version's; each other file is a layer."""
    assert {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.efsnet.version.v1",
    } == {key: listed[key] for key in ("schemaVersion", "mediaType", "artifactType")}
    assert {
        "mediaType": "application/vnd.efsnet.manifest.v1+json",
        "digest": str(version.digest),
        "size": len(version.read(MANIFEST)),
        "annotations": {TITLE: MANIFEST},
    } == listed["config"]
    assert {
        "mediaType": "application/octet-stream",
        "digest": f"sha256:{version.manifest.files['model.onnx'].sha256}",
        "size": version.manifest.files["model.onnx"].bytes,
        "annotations": {TITLE: "model.onnx"},
    } in listed["layers"]
    assert len(version.manifest.files) == len(listed["layers"])
    assert "1" == listed["annotations"]["org.opencontainers.image.version"]


def test_what_is_written_is_read(listed: dict[str, Any], version: Version) -> None:
    """And a member that nobody knows here is let through."""
    assert Artifact.of(version.contents()) == parsed({**listed, "subject": None, "new": 1})


@pytest.mark.parametrize(
    "content", [None, [], {}, {"schemaVersion": 2}, {"config": 1}, {"layers": [{"digest": "md5:1"}]}]
)
def test_what_is_no_artifact_is_refused(content: object) -> None:
    """In one line."""
    with pytest.raises(CopyInvalid, match=r"^There is no version of a model: [^\n]+$"):
        parsed(content)


def test_a_container_image_is_no_version(listed: dict[str, Any]) -> None:
    """Its configuration is of another kind."""
    listed["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"

    with pytest.raises(CopyInvalid, match="no version"):
        parsed(listed)


def test_a_manifest_of_any_size_is_not_fetched(listed: dict[str, Any]) -> None:
    """A million bytes at most."""
    listed["config"]["size"] = 1_000_001

    with pytest.raises(CopyInvalid, match="at most 1000000"):
        parsed(listed)


def change_a_digest(layers: list[dict[str, Any]]) -> None:
    """Another content under the same name."""
    layers[0]["digest"] = f"sha256:{'0' * 64}"


def change_a_size(layers: list[dict[str, Any]]) -> None:
    """More to fetch than there is."""
    layers[0]["size"] = 1 << 40


def take_one_away(layers: list[dict[str, Any]]) -> None:
    """A file less."""
    layers.pop()


def rename_one(layers: list[dict[str, Any]]) -> None:
    """To where it does not belong."""
    layers[0]["annotations"][TITLE] = "../outside"


def leave_one_unnamed(layers: list[dict[str, Any]]) -> None:
    """Without a title."""
    del layers[0]["annotations"]


def add_one(layers: list[dict[str, Any]]) -> None:
    """A file more."""
    layers.append({**layers[0], "annotations": {TITLE: "more"}})


def list_one_twice(layers: list[dict[str, Any]]) -> None:
    """The same once more."""
    layers.append(layers[0])


def add_a_huge_signature(layers: list[dict[str, Any]]) -> None:
    """The one file whose size no manifest says."""
    layers.append({**layers[0], "size": SIGNATURE_MAX_BYTES + 1, "annotations": {TITLE: SIGNATURE}})


@pytest.mark.parametrize(
    "lie",
    [
        change_a_digest,
        change_a_size,
        take_one_away,
        rename_one,
        leave_one_unnamed,
        add_one,
        list_one_twice,
        add_a_huge_signature,
    ],
)
def test_a_list_that_is_not_the_manifest_s_is_refused(listed: dict[str, Any], version: Version, lie: Any) -> None:
    """Before a layer is fetched."""
    lie(listed["layers"])

    with pytest.raises(CopyInvalid):
        parsed(listed).listed(version.manifest)


def test_a_version_that_is_too_large_is_not_fetched(listed: dict[str, Any], version: Version) -> None:
    """Even where list and manifest agree."""
    listed["layers"][0]["size"] = CONTENT_MAX_BYTES + 1
    path = listed["layers"][0]["annotations"][TITLE]
    large = FileDigest(sha256=version.manifest.files[path].sha256, bytes=CONTENT_MAX_BYTES + 1)
    manifest = version.manifest.model_copy(update={"files": {**version.manifest.files, path: large}})

    with pytest.raises(CopyInvalid, match="bytes"):
        parsed(listed).listed(manifest)
