"""Tests of the self-test of a service that runs."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL
from model_store.version import Version
from service import selftest
from service.keys import KeyRing
from tests.service.conftest import PNG, Start, app_of

URL = "/v1/admin/selftest"


class Fault:
    """Whether the memory of the predictors is broken."""

    broken = False


class BreakablePredictor(Predictor):
    """Predicts the wrong way round while it is broken."""

    def __init__(self, model: bytes, loaded: LoadedVersion, fault: Fault) -> None:
        super().__init__(model, loaded.version.manifest.specification, Computation(provider="cpu"))
        self._fault = fault

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        found = super().run(tensor)
        return ProbabilityMap(np.ascontiguousarray(found.array[::-1])) if self._fault.broken else found


@pytest.fixture
def fault() -> Fault:
    """Of `service`."""
    return Fault()


@pytest.fixture
def service(start: Start, fault: Fault, tmp_path: Path) -> TestClient:
    """A client with an admin's key, of a service whose predictors can break."""

    def breakable(version: Version) -> LoadedVersion:
        loaded = load(version, Computation(provider="cpu"))
        return replace(
            loaded, predictors=tuple(BreakablePredictor(version.read(MODEL), loaded, fault) for _ in range(2))
        )

    key, _ = KeyRing(tmp_path / "state" / "keys.json").create("operations", ["admin"], 1)
    client = start(load_version=breakable, state=tmp_path / "state")
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def test_a_version_that_is_well_passes(service: TestClient) -> None:
    """And says on which images, with how many pixels."""
    answer = service.post(URL)

    assert answer.is_success
    assert all(image["differing_pixels"] == 0 for image in answer.json()["replay"])
    assert answer.json()["replay"]


@pytest.mark.requirement("OPS-9")
@pytest.mark.parametrize("version", ["1", "night", "digest"])
def test_what_fails_answers_by_no_name(service: TestClient, fault: Fault, image: bytes, version: str) -> None:
    """Not by its number, nor by another alias, nor by its digest."""
    body = {"version": 1, "reason": "for the night", "expected_current": None}
    service.put("/v1/models/efsnet/aliases/night", json=body).raise_for_status()
    if version == "digest":
        version = service.get("/readyz").json()["model"]["digest"]
    address = f"/v1/segment?version={version}"
    assert service.post(address, content=image, headers=PNG).is_success
    fault.broken = True
    service.post(URL)

    assert "selftest_failed" == service.post(address, content=image, headers=PNG).json()["code"]


def test_a_stream_ends_with_what_fails(service: TestClient, fault: Fault) -> None:
    """It holds a version for as long as it is open, and must not show what that finds now."""
    with service.websocket_connect("/v1/stream") as stream:
        assert "ready" == stream.receive_json()["type"]
        fault.broken = True
        service.post(URL)
        while (message := stream.receive())["type"] != "websocket.close":
            pass

    assert 1013 == message["code"]


@pytest.mark.requirement("OPS-9")
def test_what_fails_answers_no_more_until_it_passes(service: TestClient, fault: Fault, image: bytes) -> None:
    """Not ready, no mask, and a metric for the alert; then all is as before."""
    assert service.post("/v1/segment", content=image, headers=PNG).is_success
    fault.broken = True
    codes = [
        (answer.status_code, answer.json()["code"])
        for answer in (
            service.post(URL),
            service.get("/readyz"),
            service.post("/v1/segment", content=image, headers=PNG),
        )
    ]

    assert [(503, "selftest_failed")] * 3 == codes
    assert 'efs_selftest_failed{model="efsnet",version="1"} 1.0' in service.get("/metrics").text
    fault.broken = False
    assert service.post(URL).is_success
    assert service.get("/readyz").is_success
    assert service.post("/v1/segment", content=image, headers=PNG).is_success
    assert 'efs_selftest_failed{model="efsnet",version="1"} 0.0' in service.get("/metrics").text


def test_it_needs_no_store(service: TestClient, tmp_path: Path) -> None:
    """The reference images are in memory: a disk that is away is another trouble."""
    (tmp_path / "store").rename(tmp_path / "elsewhere")

    assert service.post(URL).is_success


def test_the_service_tries_by_itself(client: TestClient) -> None:
    """Again and again, without being asked."""
    tried = threading.Semaphore(0)
    versions = app_of(client).state.versions

    def counted(_: LoadedVersion, __: int) -> tuple[()]:
        tried.release()
        return ()

    watched = selftest.SelfTest(versions, versions._pool, versions._metrics, 0.01, counted)

    async def watch_for_a_while() -> bool:
        watching = asyncio.ensure_future(watched.watch())
        seen = [await asyncio.to_thread(tried.acquire, timeout=60) for _ in range(3)]
        watching.cancel()
        return all(seen)

    assert client.portal
    assert client.portal.call(watch_for_a_while)
