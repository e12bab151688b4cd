"""Copies through a real registry: Debian's `docker-registry` on the loopback address."""

import json
import random
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer

import certifi
import oras.client
import pytest
import requests

from model_store.copies.arrival import Order, arrive
from model_store.copies.artifact import Artifact
from model_store.copies.registry import connected
from model_store.copies.repository import Access, Repository
from model_store.digest import Digest
from model_store.errors import CopyInvalid, DigestMismatch, RegistryUnusable, VersionTaken, VersionUnknown
from model_store.manifest import MANIFEST
from model_store.seeding import SHIPPED
from model_store.signatures import TrustedKeys
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.copies.registries import DebianRegistry, self_signed

pytestmark = pytest.mark.system


@pytest.fixture
def repository(debian_registry: DebianRegistry) -> Repository:
    """In the registry."""
    return Repository.parse(debian_registry.address)


def push(repository: Repository, version: Version, access: Access | None = None) -> bool:
    """As the command does."""
    with connected(repository, access or Access()) as registry:
        return registry.push(version)


def pull(repository: Repository, number: int, store: ModelStore) -> Version:
    """As the command does."""
    with connected(repository, Access()) as registry:
        contents = registry.pull(number)
    return arrive(store, contents, Order("efsnet")).version


def test_the_shipped_version_goes_round(repository: Repository, tmp_path: Path) -> None:
    """Signed as it is: pushed, pulled into an empty store, the same to the last byte; a second time nothing is new."""
    shipped = ModelStore(SHIPPED).version("efsnet", "2")
    store = ModelStore(tmp_path / "empty")

    assert push(repository, shipped)
    assert not push(repository, shipped)
    pulled = pull(repository, 2, store)

    assert shipped.contents() == pulled.contents()
    with connected(repository, Access()) as registry:
        order = Order("efsnet", shipped.digest, TrustedKeys.read(SHIPPED.with_name("keys")))
        assert not arrive(store, registry.pull(2), order).new


def test_the_client_of_oras_fetches_the_files(repository: Repository, second: Version, tmp_path: Path) -> None:
    """By itself, each at its path; the manifest is the configuration."""
    push(repository, second)

    client = oras.client.OrasClient(insecure=True)
    with client.session:
        client.pull(f"{repository}:2", outdir=str(tmp_path / "fetched"))

    fetched = tmp_path / "fetched"
    found = {str(path.relative_to(fetched)): path.read_bytes() for path in fetched.rglob("*") if path.is_file()}
    assert {path: content for path, content in second.contents().items() if path != MANIFEST} == found


def test_a_file_without_content_travels_too(
    repository: Repository, elsewhere: ModelStore, second: Version, tmp_path: Path
) -> None:
    """Which `oras` by itself does not insist on."""
    contents = {**second.contents(), "notes": b""}
    del contents[MANIFEST]
    version = elsewhere.publish("efsnet", second.manifest, contents)

    push(repository, version)

    assert b"" == pull(repository, 3, ModelStore(tmp_path / "empty")).contents()["notes"]


def test_a_taken_tag_stays_what_it_is(
    repository: Repository, elsewhere: ModelStore, version: Version, published_store: ModelStore
) -> None:
    """The registry itself would overwrite it."""
    push(repository, version)

    with pytest.raises(VersionTaken):
        push(repository, elsewhere.version("efsnet", "1"))

    assert version.digest == pull(repository, 1, published_store).digest


@pytest.mark.parametrize("path", [MANIFEST, "model.onnx", "reference/squares.label_map.png"])
def test_a_byte_flipped_on_the_registry_s_disk(
    debian_registry: DebianRegistry, repository: Repository, second: Version, published_store: ModelStore, path: str
) -> None:
    """The registry serves it as if nothing were; here it is refused by name, and comes when it is repaired."""
    push(repository, second)
    content = second.read(path)
    blob = debian_registry.blob(Digest.of(content))
    blob.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])

    with pytest.raises(DigestMismatch, match=f"{path} is not what was pushed"):
        pull(repository, 2, published_store)
    assert (1,) == published_store.numbers("efsnet")

    blob.write_bytes(content)
    assert second.digest == pull(repository, 2, published_store).digest


def test_a_manifest_that_lies(
    debian_registry: DebianRegistry, repository: Repository, second: Version, published_store: ModelStore
) -> None:
    """Who may write to the registry lists another model under the version's tag."""
    push(repository, second)
    text = json.loads(Artifact.of(second.contents()).model_dump_json(by_alias=True))
    model = next(layer for layer in text["layers"] if "model.onnx" in layer["annotations"].values())
    card = next(layer for layer in text["layers"] if "MODEL_CARD.md" in layer["annotations"].values())
    model |= {"digest": card["digest"], "size": card["size"]}
    with connected(repository, Access()) as registry:
        registry.client.container.tag = "2"
        assert registry.client.upload_manifest(text, registry.client.container).ok

    with pytest.raises(CopyInvalid, match=r"differ in 'model\.onnx'"):
        pull(repository, 2, published_store)
    assert (1,) == published_store.numbers("efsnet")

    assert push(repository, second)
    assert second.digest == pull(repository, 2, published_store).digest


@dataclass
class Killer:
    """Kills a registry when it has answered so often; a hook of a session of requests."""

    registry: DebianRegistry
    after: int

    def __call__(self, response: requests.Response, **options: object) -> None:
        self.after -= 1
        if self.after == 0:
            self.registry.kill()


@pytest.mark.parametrize("answers", [1, 2, 3, 4, 10, 15])
def test_a_registry_killed_during_a_push(
    debian_registry: DebianRegistry, repository: Repository, second: Version, published_store: ModelStore, answers: int
) -> None:
    """Between two requests; started again, the same push succeeds, and what is pulled is whole."""
    with connected(repository, Access()) as registry:
        registry.client.session.hooks["response"].append(Killer(debian_registry, answers))
        with pytest.raises(RegistryUnusable, match="try again"):
            registry.push(second)

    debian_registry.start()
    with pytest.raises(VersionUnknown):
        pull(repository, 2, published_store)
    assert push(repository, second)
    assert second.digest == pull(repository, 2, published_store).digest


def test_a_registry_killed_at_any_moment_of_a_push(
    debian_registry: DebianRegistry, elsewhere: ModelStore, second: Version, tmp_path: Path
) -> None:
    """Within a request too: ten times, each in a repository of its own."""
    contents = {path: content for path, content in second.contents().items() if path != MANIFEST}
    large = {f"data/{number}": bytes([number]) * 1_000_000 for number in range(10)}
    version = elsewhere.publish("efsnet", second.manifest, {**contents, **large})
    for number in range(10):
        repository = Repository.parse(f"{debian_registry.address}-{number}")
        timer = Timer(random.uniform(0.0, 0.5), debian_registry.kill)  # noqa: S311 (no secret)
        timer.start()
        with suppress(RegistryUnusable):
            push(repository, version)
        timer.join()
        debian_registry.start()

        push(repository, version)
        assert version.contents() == pull(repository, 3, ModelStore(tmp_path / f"store-{number}")).contents()


def test_a_registry_killed_during_a_pull(
    debian_registry: DebianRegistry, repository: Repository, second: Version, published_store: ModelStore
) -> None:
    """Nothing is in the store; started again, the same pull succeeds."""
    push(repository, second)
    with connected(repository, Access()) as registry:
        registry.client.session.hooks["response"].append(Killer(debian_registry, 3))
        with pytest.raises(RegistryUnusable, match="try again"):
            registry.pull(2)
    assert (1,) == published_store.numbers("efsnet")

    debian_registry.start()
    assert second.digest == pull(repository, 2, published_store).digest


def test_a_registry_with_tls_and_a_password(tmp_path: Path, second: Version, published_store: ModelStore) -> None:
    """As a hospital has it: the authority is named, the password is in the environment or the push is refused."""
    certificate, key = self_signed(tmp_path)
    (tmp_path / "htpasswd").write_text("dr.who:$2b$04$B1wVbfEYE0z6/9YC7NQCSOTHqxTYasYWjSGS/xBcaQB8JxOnsFS06\n")
    registry = DebianRegistry(
        tmp_path / "registry",
        http=f"  tls: {{certificate: {certificate}, key: {key}}}\n",
        extra=f"auth: {{htpasswd: {{realm: tests, path: {tmp_path / 'htpasswd'}}}}}\n",
    )
    registry.start()
    try:
        repository = Repository.parse(registry.address)
        doctor = Access("dr.who", "tardis", authority=certificate)
        assert push(repository, second, doctor)
        with connected(repository, doctor) as again:
            assert second.contents() == again.pull(2)
        with pytest.raises(RegistryUnusable, match="denies access"):
            push(repository, second, replace(doctor, password="wrong"))  # noqa: S106 (a test's)
        with pytest.raises(RegistryUnusable, match="certificate that is trusted"):
            push(repository, second, replace(doctor, authority=Path(certifi.where())))
    finally:
        registry.kill()
