"""Push and pull, against a small registry that does as it is told."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from model_store.copies.arrival import Order, arrive
from model_store.copies.artifact import Artifact
from model_store.copies.client import container
from model_store.copies.registry import Registry, connected
from model_store.copies.repository import Access, Repository
from model_store.digest import Digest
from model_store.errors import (
    AlreadySigned,
    CopyInvalid,
    DigestMismatch,
    RegistryUnusable,
    VersionTaken,
    VersionUnknown,
)
from model_store.manifest import MANIFEST, SIGNATURE
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.copies.registries import Contents, self_signed, small_registry

DOCTOR = Access("dr.who", "tardis")


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the machine that runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def held() -> Contents:
    """What the registry holds: nothing yet."""
    return Contents()


@pytest.fixture
def repository(held: Contents) -> Iterator[Repository]:
    """In a registry that runs."""
    with small_registry(held) as address:
        yield Repository.parse(address)


@pytest.fixture
def registry(repository: Repository) -> Iterator[Registry]:
    """The same, connected."""
    with connected(repository, Access()) as registry:
        yield registry


def change(held: Contents, digest: Digest, content: bytes) -> None:
    """What somebody does to a blob on the registry's disk."""
    held.blobs[str(digest)] = content


def model_digest(version: Version) -> Digest:
    """Of the largest file."""
    return Digest("sha256", version.manifest.files["model.onnx"].sha256)


def test_what_is_pushed_is_pulled(registry: Registry, second: Version, published_store: ModelStore) -> None:
    """From one store to the other, whole."""
    assert registry.push(second)

    arrival = arrive(published_store, registry.pull(2), Order("efsnet"))

    assert arrival.new
    assert second.contents() == arrival.version.contents()


def test_the_tag_is_the_number(registry: Registry, held: Contents, second: Version) -> None:
    """And the artifact what `artifact` makes."""
    registry.push(second)

    assert {"2": Artifact.of(second.contents())} == {tag: Artifact.parse(text) for tag, text in held.manifests.items()}


def test_pushing_again_changes_nothing(registry: Registry, held: Contents, second: Version) -> None:
    """Nothing is sent."""
    registry.push(second)
    held.requests.clear()

    assert not registry.push(second)
    assert {"GET"} == {method for method, _, _ in held.requests}


def test_a_tag_is_not_given_to_another_version(
    registry: Registry, held: Contents, elsewhere: ModelStore, version: Version
) -> None:
    """Both digests are named, and nothing is sent."""
    registry.push(version)
    before = dict(held.blobs), dict(held.manifests)

    with pytest.raises(VersionTaken, match=f"there it is {version.digest}"):
        registry.push(elsewhere.version("efsnet", "1"))

    assert before == (held.blobs, held.manifests)


def test_a_signature_can_follow(registry: Registry, second: Version) -> None:
    """It is added to what is there; without one, what is there keeps its own; another is refused."""
    signature = second.path / SIGNATURE
    registry.push(second)

    signature.write_bytes(b"a signature")
    assert registry.push(second)
    assert b"a signature" == registry.pull(2)[SIGNATURE]

    signature.unlink()
    assert not registry.push(second)
    signature.write_bytes(b"another")
    with pytest.raises(AlreadySigned, match="Nothing was changed"):
        registry.push(second)
    assert b"a signature" == registry.pull(2)[SIGNATURE]


def test_a_damaged_version_is_not_pushed(registry: Registry, held: Contents, second: Version) -> None:
    """Nothing is sent."""
    (second.path / "model.onnx").chmod(0o644)
    (second.path / "model.onnx").write_bytes(b"x")

    with pytest.raises(DigestMismatch):
        registry.push(second)

    assert {} == held.blobs


@pytest.mark.parametrize("after", range(2, 20, 3))
def test_a_push_that_broke_off_is_repeated(
    registry: Registry, repository: Repository, held: Contents, second: Version, after: int
) -> None:
    """Until then there is no such version; afterwards it is whole."""
    held.broken_off_after = after
    with pytest.raises(RegistryUnusable, match="try again"):
        registry.push(second)
    assert {} == held.manifests

    held.broken_off_after = None
    with connected(repository, Access()) as again:
        assert again.push(second)
        assert second.contents() == again.pull(2)


@pytest.mark.parametrize("change_to", ["flipped", "cut off", "longer", "endless"])
@pytest.mark.parametrize("path", [MANIFEST, "model.onnx"])
def test_a_changed_blob_is_refused(
    registry: Registry, held: Contents, second: Version, path: str, change_to: str
) -> None:
    """The version and the file are named; no more is read than was announced."""
    registry.push(second)
    content = second.read(path)
    change(
        held,
        Digest.of(content),
        {
            "flipped": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
            "cut off": content[:-1],
            "longer": content + b"x",
            "endless": bytes(5_000_000),
        }[change_to],
    )

    with pytest.raises(DigestMismatch, match=rf"models/efsnet:2: {path} is not what was pushed"):
        registry.pull(2)


def test_a_manifest_that_lies_about_a_file_is_refused(registry: Registry, held: Contents, second: Version) -> None:
    """The list and the blob fit each other, but not what was published."""
    registry.push(second)
    swapped = json.loads(held.manifests["2"])
    [layer] = [layer for layer in swapped["layers"] if layer["digest"] == str(model_digest(second))]
    layer |= {"digest": str(Digest.of(b"another model")), "size": len(b"another model")}
    held.manifests["2"] = json.dumps(swapped).encode()
    held.blobs[layer["digest"]] = b"another model"

    with pytest.raises(CopyInvalid, match=r"differ in 'model\.onnx'"):
        registry.pull(2)


def test_a_manifest_of_another_number_is_refused(registry: Registry, held: Contents, second: Version) -> None:
    """Whoever asks for version 3 must not be given version 2."""
    registry.push(second)
    held.manifests["3"] = held.manifests["2"]

    with pytest.raises(CopyInvalid, match="models/efsnet:3: There is version 2 instead"):
        registry.pull(3)


def test_a_manifest_of_another_seal_is_refused(registry: Registry, held: Contents, second: Version) -> None:
    """A manifest that somebody has edited, with the list made to fit."""
    registry.push(second)
    edited = second.read(MANIFEST).replace(b"Tests", b"Tosts")
    listed = json.loads(held.manifests["2"])
    listed["config"]["digest"] = str(Digest.of(edited))
    held.manifests["2"] = json.dumps(listed).encode()
    held.blobs[listed["config"]["digest"]] = edited

    with pytest.raises(DigestMismatch, match="sealed"):
        registry.pull(2)


def test_a_list_of_any_length_is_not_read(registry: Registry, held: Contents) -> None:
    """Four million bytes at most."""
    held.manifests["2"] = b" " * 4_000_001

    with pytest.raises(CopyInvalid, match="more than the list"):
        registry.pull(2)


def test_what_is_no_version_is_named(registry: Registry, held: Contents) -> None:
    """Such as the index of a container image."""
    held.manifests["2"] = b'{"schemaVersion": 2, "manifests": []}'

    with pytest.raises(CopyInvalid, match="models/efsnet:2: There is no version"):
        registry.pull(2)


def test_a_version_that_is_not_there_is_unknown(registry: Registry) -> None:
    """It is no fault of the registry."""
    with pytest.raises(VersionUnknown, match="models/efsnet has no version 2"):
        registry.pull(2)


def test_a_blob_that_is_gone_is_named(registry: Registry, held: Contents, second: Version) -> None:
    """As the registry's fault, whose answer is not repeated."""
    registry.push(second)
    del held.blobs[str(model_digest(second))]

    with pytest.raises(RegistryUnusable, match=r"has lost model\.onnx"):
        registry.pull(2)


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_who_has_the_password_may_push_and_pull(held: Contents, second: Version, kind: str) -> None:
    """With both ways in which registries ask; a token for reading is changed for one for writing."""
    setattr(held, kind, True)
    with small_registry(held) as address, connected(Repository.parse(address), DOCTOR) as registry:
        assert registry.push(second)
        assert second.contents() == registry.pull(2)


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_who_is_logged_in_with_docker_needs_no_variables(
    held: Contents, second: Version, tmp_path: Path, kind: str
) -> None:
    """Its configuration is read where DOCKER_CONFIG says."""
    setattr(held, kind, True)
    with small_registry(held) as address:
        repository = Repository.parse(address)
        auths = {repository.host: {"auth": base64.b64encode(b"dr.who:tardis").decode()}}
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": auths}))
        with connected(repository, Access()) as registry:
            assert registry.push(second)


@pytest.mark.parametrize("access", [Access(), Access("dr.who", "a wrong secret")])
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_who_may_not_is_told_how(held: Contents, kind: str, access: Access, capfd: pytest.CaptureFixture[str]) -> None:
    """The password is in neither the message nor the output."""
    setattr(held, kind, True)

    with (
        small_registry(held) as address,
        pytest.raises(RegistryUnusable, match="ORAS_USER and ORAS_PASS") as denied,
        connected(Repository.parse(address), access) as registry,
    ):
        registry.pull(2)

    assert "secret" not in str(denied.value)
    assert ("", "") == capfd.readouterr()


def test_a_password_is_not_shown_with_its_owner() -> None:
    """In a traceback or a log."""
    assert "tardis" not in repr(DOCTOR)


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_registry_that_refuses_is_named(
    repository: Repository, registry: Registry, held: Contents, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """At once; what it says in its answer is not repeated."""
    held.status = status

    with pytest.raises(RegistryUnusable, match=str(repository)):
        registry.pull(2)

    assert ("", "") == capfd.readouterr()


def test_what_is_no_registry_is_named(registry: Registry, held: Contents, second: Version) -> None:
    """It takes everything and says nothing of use."""
    held.writing_status = 204

    with pytest.raises(RegistryUnusable, match="does not answer as a registry does"):
        registry.push(second)


def test_a_registry_that_is_not_there_is_named(held: Contents) -> None:
    """Without waiting for it."""
    with small_registry(held) as address:
        pass

    with pytest.raises(RegistryUnusable, match="cannot be reached"), connected(Repository.parse(address), Access()):
        pass


def test_a_log_in_that_cannot_be_read_is_told(repository: Repository, tmp_path: Path) -> None:
    """Without what is in it."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text('{"auths": "dr.who')

    with (
        pytest.raises(RegistryUnusable, match=r"^127\.0\.0\.1:\d+/models/efsnet [a-z ]+\.$"),
        connected(repository, Access()),
    ):
        pass


@pytest.mark.parametrize(("status", "message"), [(401, "denies"), (403, "denies"), (405, "405"), (404, "404")])
def test_who_may_only_read_is_told(
    registry: Registry, held: Contents, second: Version, status: int, message: str
) -> None:
    """Whatever the registry calls it."""
    held.writing_status = status

    with pytest.raises(RegistryUnusable, match=rf"models/efsnet.* {message}"):
        registry.push(second)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, and its key."""
    return self_signed(tmp_path)


def test_an_own_authority_is_trusted_where_it_is_named(
    held: Contents, second: Version, certificate: tuple[Path, Path]
) -> None:
    """And not otherwise."""
    with small_registry(held, certificate) as address:
        with connected(Repository.parse(address), Access(authority=certificate[0])) as registry:
            assert registry.push(second)
            assert second.contents() == registry.pull(2)
        with (
            pytest.raises(RegistryUnusable, match="certificate that is trusted"),
            connected(Repository.parse(address), Access(authority=Path(certifi.where()))),
        ):
            pass


def test_tls_is_not_given_up(repository: Repository, held: Contents, certificate: tuple[Path, Path]) -> None:
    """Where an authority is named, a registry without TLS is not talked to, on this machine neither."""
    with (
        pytest.raises(RegistryUnusable, match="--ca and --plain-http"),
        connected(repository, Access(authority=certificate[0])),
    ):
        pass

    assert [] == held.requests


def test_nobody_is_sent_out_of_tls(held: Contents, second: Version, certificate: tuple[Path, Path]) -> None:
    """Neither by the registry nor by whoever speaks for it."""
    other = Contents()
    with (
        small_registry(held, certificate) as address,
        small_registry(other) as plain,
        connected(Repository.parse(address), Access(authority=certificate[0])) as registry,
    ):
        registry.push(second)
        held.blobs_at = f"http://{Repository.parse(plain).host}"
        with pytest.raises(RegistryUnusable, match="without TLS"):
            registry.pull(2)

    assert [] == other.requests


def test_blobs_may_lie_elsewhere(held: Contents, second: Version) -> None:
    """In a cloud's storage, as many registries have it; the password is not for that."""
    held.basic = True
    other = Contents(blobs=held.blobs)
    with (
        small_registry(held) as address,
        small_registry(other) as storage,
        connected(Repository.parse(address), DOCTOR) as registry,
    ):
        registry.push(second)
        held.blobs_at = "http://" + Repository.parse(storage).host.replace("127.0.0.1", "localhost")
        assert second.contents() == registry.pull(2)

    assert {""} == {credentials for _, _, credentials in other.requests}


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("localhost:5000/efsnet", True),
        ("127.0.0.1/models/efsnet", True),
        ("[::1]:5000/efsnet", True),
        ("localhost.example.org/efsnet", False),
        ("127.0.0.1.example.org:5000/efsnet", False),
        ("registry/efsnet", False),
        ("10.0.0.1:5000/a/b_c/d.e", False),
    ],
)
def test_only_this_machine_is_talked_to_without_tls(text: str, near: bool) -> None:  # noqa: FBT001 (a table)
    """Anywhere else somebody must say so."""
    repository = Repository.parse(text)

    assert (text, near) == (str(repository), repository.is_on_this_machine)


@pytest.mark.parametrize(
    "text",
    [
        "efsnet",
        "https://registry.example.org/efsnet",
        "user:secret@registry.example.org/efsnet",
        "registry.example.org/efsnet:2",
        "registry.example.org/efsnet@sha256:0",
        "registry.example.org/../efsnet",
        "registry.example.org/Efsnet",
        "registry.example.org/",
        "registry.example.org/a?b",
        "",
    ],
)
def test_a_repository_is_a_host_and_a_path(text: str) -> None:
    """What else there is in an address is refused, and not repeated."""
    with pytest.raises(RegistryUnusable, match=r"^A repository is HOST") as refused:
        Repository.parse(text)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_a_host_without_a_dot_is_a_host(scheme: str, port: int) -> None:
    """`oras` by itself would look for it on the internet."""
    named = container(Repository("registry", "models/efsnet"), scheme)

    assert (f"registry:{port}", "models/efsnet") == (named.registry, named.api_prefix)
