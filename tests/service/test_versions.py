"""Versions in memory."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from efsnet.predictor import Computation
from model_store.loading import LoadedVersion, load
from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from tests.service.api.test_health import samples, value
from tests.service.conftest import PNG, Start
from tests.service.test_loads import load_heavy


class Loader:
    """Loads as the store does, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __call__(self, version: Version) -> LoadedVersion:
        """The version, loaded for two workers."""
        self.loaded.append(version.number)
        return load(version, Computation(provider="cpu"), workers=2)


@pytest.fixture
def four_versions(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """Versions 1 to 4, of which 1 is production."""
    for _ in range(3):
        published_store.publish("efsnet", tiny_draft, tiny_contents)
    return published_store


def ask(client: TestClient, image: bytes, version: str) -> int:
    """The status of a request for a version."""
    return int(client.post("/v1/segment", params={"version": version}, content=image, headers=PNG).status_code)


def test_the_versions_asked_for_last_stay_in_memory(start: Start, four_versions: ModelStore, image: bytes) -> None:
    """One more than the limit drops the one that was not asked for longest, and never the default one."""
    loader = Loader()
    client = start(load_version=loader)
    for version in ("2", "3", "2", "4", "2", "3", "1", "production"):
        assert 200 == ask(client, image, version)

    assert [1, 2, 3, 4, 3] == loader.loaded
    in_memory = {dict(labels)["version"] for name, labels in samples(client) if name == "efs_model_info"}
    assert {"1", "2", "3"} == in_memory


def test_a_version_that_many_ask_for_is_loaded_once(start: Start, four_versions: ModelStore, image: bytes) -> None:
    """The others wait for the first."""
    loader = Loader()
    client = start(load_version=loader)
    with ThreadPoolExecutor(6) as clients:
        statuses = list(clients.map(lambda _: ask(client, image, "2"), range(6)))

    assert [200] * 6 == statuses
    assert [1, 2] == loader.loaded


def test_a_version_is_loaded_when_the_image_is_there(start: Start, four_versions: ModelStore) -> None:
    """Many slow uploads would else keep as many versions in memory; that there is no such version is told before."""
    loader = Loader()
    client = start(load_version=loader)

    assert [400, 404] == [ask(client, b"", version) for version in ("2", "9")]
    assert [1] == loader.loaded


def test_a_damaged_version_is_refused_and_the_default_one_goes_on(
    start: Start, four_versions: ModelStore, image: bytes
) -> None:
    """The problem names the file."""
    (four_versions.root / "efsnet/versions/2/model.onnx").unlink()
    client = start()
    response = client.post("/v1/segment?version=2", content=image, headers=PNG)

    assert (503, "version_damaged") == (response.status_code, response.json()["code"])
    assert "model.onnx" in response.json()["detail"]
    assert 200 == ask(client, image, "production")


def test_a_version_is_served_though_the_default_one_cannot_be(
    start: Start, four_versions: ModelStore, image: bytes
) -> None:
    """Who names a version does not depend on the default one."""
    (four_versions.root / "efsnet/versions/1/model.onnx").unlink()
    client = start()

    assert (503, 503, 200) == (
        client.get("/readyz").status_code,
        ask(client, image, "production"),
        ask(client, image, "2"),
    )


def test_an_unexpected_failure_at_start_leaves_the_service_alive(start: Start) -> None:
    """Whatever goes wrong is told by /readyz, and the process stays."""

    def fail(_: Version) -> LoadedVersion:
        raise MemoryError

    client = start(load_version=fail)

    assert (200, 503) == (client.get("/livez").status_code, client.get("/readyz").status_code)
    assert "log" in client.get("/readyz").json()["detail"]


def test_a_production_that_cannot_be_found_counts_as_refused(start: Start, four_versions: ModelStore) -> None:
    """A damaged manifest or promotion record raises the alert that a damaged model does."""
    (four_versions.root / "efsnet/promotions/000001.json").write_text("{}")

    assert 1 == value(start(), "efs_model_loads_total", outcome="refused")


def test_a_version_that_is_too_large_is_refused(start: Start, four_versions: ModelStore, image: bytes) -> None:
    """Unless it is promoted; what answers goes on."""
    client = start(load_version=load_heavy, loaded_mb=30)

    for _ in range(2):  # measured at the first, known at the second
        answer = client.post("/v1/segment", params={"version": "2"}, content=image, headers=PNG)
        assert (503, "version_too_large") == (answer.status_code, answer.json()["code"])
        assert "EFSNET_LOADED_MB" in answer.json()["detail"]
    assert 200 == ask(client, image, "production")
    assert {"1"} == {dict(labels)["version"] for name, labels in samples(client) if name == "efs_model_info"}


def test_the_memory_for_versions_is_a_setting(start: Start, four_versions: ModelStore, image: bytes) -> None:
    """One of 60 MB has room in 100 MB, and the next takes its place."""
    client = start(load_version=load_heavy, loaded_mb=100)

    assert [200, 200] == [ask(client, image, version) for version in ("2", "3")]
    assert {"1", "3"} == {dict(labels)["version"] for name, labels in samples(client) if name == "efs_model_info"}
