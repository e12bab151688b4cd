"""What operators ask."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from efsnet.predictor import Computation
from model_store.loading import LoadedVersion, load
from model_store.store import ModelStore
from model_store.version import Version
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import PNG, Gate, Start, app_of, loaded


def samples(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All that Prometheus would be told, by name and labels."""
    text = client.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float:
    """One sample; 0 where there is none."""
    return samples(client).get((name, frozenset(labels.items())), 0.0)


def test_the_process_is_alive(client: TestClient) -> None:
    """It answers."""
    assert {"status": "alive"} == client.get("/livez").json()


@pytest.mark.requirement("OPS-1")
def test_readiness_tells_version_self_test_and_queue(client: TestClient) -> None:
    """What answers, how the reference images went, and how much is waiting."""
    ready = client.get("/readyz").json()

    assert ("ready", "efsnet", 1) == (ready["status"], ready["model"]["name"], ready["model"]["version"])
    assert [0] == [image["differing_pixels"] for image in ready["replay"]]
    assert {"waiting": 0, "running": 0, "workers": 2, "capacity": 32} == ready["queue"]


def remove_the_model(store: ModelStore) -> str:
    """Takes a file away, and returns its name."""
    (store.root / "efsnet/versions/1/model.onnx").unlink()
    return "model.onnx"


def flip_a_bit(store: ModelStore) -> str:
    """Changes one bit of a file, and returns its name."""
    path = store.root / "efsnet/versions/1/reference/squares.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return "reference/squares.png"


def put_a_file_beside(store: ModelStore) -> str:
    """Adds a file, and returns its name."""
    (store.root / "efsnet/versions/1/weights.pt").write_bytes(b"")
    return "weights.pt"


@pytest.mark.parametrize("damage", [remove_the_model, flip_a_bit, put_a_file_beside])
@pytest.mark.requirement("OPS-1")
def test_a_damaged_version_is_never_served(
    start: Start,
    published_store: ModelStore,
    image: bytes,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[ModelStore], str],
) -> None:
    """The service stays alive but is not ready, and says which file it is: to clients and in the log."""
    name = damage(published_store)
    client = start()
    ready = client.get("/readyz")
    answer = client.post("/v1/segment", content=image, headers=PNG)

    assert (200, 503, 503) == (client.get("/livez").status_code, ready.status_code, answer.status_code)
    assert "model_not_ready" == ready.json()["code"] == answer.json()["code"]
    assert name in ready.json()["detail"]
    assert name in caplog.text
    assert 1 == value(client, "efs_model_loads_total", outcome="refused")


def test_a_missing_production_version_is_told(start: Start, published_store: ModelStore) -> None:
    """Of a model that nobody published."""
    client = start(model="unheard-of")

    assert 503 == client.get("/readyz").status_code
    assert "efsnet" in client.get("/readyz").json()["detail"]


def test_a_store_that_cannot_be_read_is_told(start: Start, tmp_path: Path) -> None:
    """The store is a file, say."""
    (tmp_path / "file").write_bytes(b"")
    client = start(store=tmp_path / "file")

    assert 503 == client.get("/readyz").status_code


def test_a_version_that_still_loads_is_told(published_store: ModelStore, gate: Gate) -> None:
    """Until it is there, the service is alive but not ready; then it is."""

    def load_slowly(version: Version) -> LoadedVersion:
        gate.wait()
        return load(version, Computation(provider="cpu"))

    app = create_app(Settings(store=published_store.root), load_version=load_slowly)
    with TestClient(app) as client:
        gate.await_calls(1)

        assert "being loaded" in client.get("/readyz").json()["detail"]
        assert 200 == client.get("/livez").status_code
        gate.opened.set()
        assert client.portal is not None
        client.portal.call(loaded, app)
        assert 200 == client.get("/readyz").status_code


def test_a_stopping_service_is_not_ready_but_answers(start: Start, image: bytes) -> None:
    """Load balancers go elsewhere; what is under way is finished."""
    client = start()
    app_of(client).state.stopping = True

    assert "draining" == client.get("/readyz").json()["code"]
    assert 200 == client.post("/v1/segment", content=image, headers=PNG).status_code


@pytest.mark.requirement("OPS-5")
def test_every_segmentation_is_counted_and_each_stage_timed(start: Start, image: bytes) -> None:
    """By model, version, outcome and format; refusals by their reason."""
    client = start()
    client.post("/v1/segment", content=image, headers=PNG)
    client.post("/v1/segment", content=b"", headers=PNG)
    ok = {"model": "efsnet", "version": "1", "format": "json", "outcome": "ok"}
    names = {"model": "efsnet", "version": "1"}

    assert 1 == value(client, "efs_requests_total", **ok)
    assert 1 == value(client, "efs_requests_total", **{**ok, "outcome": "invalid"})
    assert 1 == value(client, "efs_rejected_total", reason="body_empty")
    for stage in ("queue", "decode", "preprocess", "infer", "postprocess", "encode"):
        assert 1 == value(client, "efs_stage_duration_seconds_count", stage=stage, **names)
    route = {"method": "POST", "route": "/v1/segment"}
    assert 1 == value(client, "http_server_request_duration_seconds_count", **route, status="200")
    assert 1 == value(client, "http_server_request_duration_seconds_count", **route, status="400")
    assert 1 == value(client, "efs_class_fraction_count", **{"class": "malignant"}, **names)
    assert 1 == value(client, "efs_mask_confidence_count", **{"class": "benign"}, **names)


def test_the_model_in_memory_is_a_metric(start: Start, published_store: ModelStore) -> None:
    """With its digest, to join others with; and its self-test."""
    client = start()
    digest = str(published_store.version("efsnet", "1").digest)
    found = [dict(labels) for name, labels in samples(client) if name == "efs_model_info"]

    assert [("1", digest, "production", "f32")] == [
        (labels["version"], labels["digest"], labels["alias"], labels["precision"]) for labels in found
    ]
    assert 1 == value(client, "efs_model_loads_total", outcome="ok")
    assert 0 < value(client, "efs_selftest_last_success_timestamp_seconds", model="efsnet", version="1")
    assert ("efs_selftest_differing_pixels", frozenset({("model", "efsnet"), ("version", "1")})) in samples(client)


def test_labels_are_never_what_a_client_made_up(start: Start) -> None:
    """Paths and methods that nobody foresaw are counted under one name."""
    client = start()
    for number in range(20):
        client.request(f"METHOD{number}", f"/path{number}")
    counted = [labels for name, labels in samples(client) if name == "http_server_request_duration_seconds_count"]

    assert 20 == value(
        client, "http_server_request_duration_seconds_count", method="other", route="unmatched", status="404"
    )
    assert 1 == len([labels for labels in counted if ("route", "unmatched") in labels])


def test_the_version_of_the_service_is_told(client: TestClient) -> None:
    """In the answer, the metrics and the API's description alike."""
    version = client.get("/version").json()["service"]

    assert version == client.get("/openapi.json").json()["info"]["version"]
    assert 1 == value(client, "efs_build_info", version=version)
