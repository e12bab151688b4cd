"""Jobs and the doors of a PACS over HTTP. The PACS of these tests is away: nothing listens at its address."""

import logging

import pytest
from starlette.testclient import TestClient

from service.jobs.job import Subject
from service.pacs.multipart import write_parts
from tests.service.conftest import Start, app_of
from tests.service.pacs.conftest import image, instance

ORDER = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.1", "sop_instance_uid": "1.2.1.1"}
JSON = {"Content-Type": "application/json"}
AWAY = {"url": "http://127.0.0.1:9/dicom-web", "runners": 0}
STOW = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of a service with a PACS, whose jobs wait."""
    return start(pacs={**AWAY, "orthanc_url": "http://127.0.0.1:9", "write": True})


def test_an_order_is_accepted_at_once_and_once(client: TestClient) -> None:
    """202 with the job; the same order again is the same job."""
    first, second = client.post("/v1/jobs", json=ORDER), client.post("/v1/jobs", json=ORDER)

    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json()["new"], second.json()["new"]) == (True, False)
    assert first.json()["job"]["id"] == second.json()["job"]["id"]
    assert first.json()["job"]["state"] == "queued"


def test_jobs_are_listed_and_shown(client: TestClient) -> None:
    """All of them, those of a state, and one by its id."""
    job = client.post("/v1/jobs", json=ORDER).json()["job"]

    assert 'efs_jobs{state="queued"} 1.0' in client.get("/metrics").text
    assert client.get("/v1/jobs").json() == {"counts": {"queued": 1}, "jobs": [job]}
    assert client.get("/v1/jobs", params={"state": "failed"}).json()["jobs"] == []
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


def test_a_job_is_cancelled_and_retried(client: TestClient) -> None:
    """Each where its state allows it, with a conflict elsewhere."""
    path = f"/v1/jobs/{client.post('/v1/jobs', json=ORDER).json()['job']['id']}"

    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{path}/cancel").json()["code"] == "job_not_in_state"
    assert client.post(f"{path}/retry").json()["state"] == "queued"
    assert client.get("/v1/jobs/unknown").json()["code"] == "job_unknown"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"study_instance_uid": "Planted^Name"},
        {"study_instance_uid": "1..2"},
        {"study_instance_uid": "1.2", "sop_instance_uid": "1.2.3"},
        {**ORDER, "patient": "Planted^Name"},
        {**ORDER, "priority": "urgent"},
        {**ORDER, "reanalyse": 0},
    ],
)
def test_what_is_no_order_is_refused(client: TestClient, body: dict[str, str]) -> None:
    """With the parameter, and no echo of what was sent."""
    answer = client.post("/v1/jobs", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "parameter_invalid")
    assert "Planted" not in answer.text


def test_an_order_that_is_no_text_is_refused_as_other_json_that_cannot_be_read(client: TestClient) -> None:
    """FastAPI tells the two apart; who sends them need not."""
    answers = [client.post("/v1/jobs", content=content, headers=JSON) for content in (b"{", b"\xff")]

    assert [422, 422] == [answer.status_code for answer in answers]
    assert ["body", "body"] == [answer.json()["errors"][0]["parameter"] for answer in answers]


def test_an_order_is_small(client: TestClient) -> None:
    """Nobody fills the memory with an order."""
    assert client.post("/v1/jobs", content=b"x" * 70_000).json()["code"] == "body_too_large"


def test_without_a_pacs_there_are_no_jobs(start: Start) -> None:
    """The problem names the setting."""
    answer = start().post("/v1/jobs", json=ORDER)

    assert (answer.status_code, answer.json()["code"]) == (503, "pacs_not_configured")
    assert "EFSNET_PACS_URL" in answer.json()["detail"]


def test_a_pacs_that_is_away_is_told_step_by_step(client: TestClient) -> None:
    """Each step failed, and why."""
    answer = client.post("/v1/pacs/test").json()

    assert answer["ok"] is False
    assert {step["name"]: step["state"] for step in answer["steps"]} == dict.fromkeys(
        ("query", "retrieve", "store", "find", "changes"), "failed"
    )
    assert "cannot be reached" in answer["steps"][0]["detail"]


def push(client: TestClient, *files: bytes, path: str = "/dicom-web/studies") -> tuple[int, dict[str, object]]:
    """Status and answer of a STOW-RS request, sent in chunks without a length."""
    answer = client.post(path, content=write_parts(files, "b"), headers=STOW)
    return answer.status_code, answer.json()


def test_pushed_images_become_jobs(client: TestClient) -> None:
    """200, and their jobs are there; again, they are the same."""
    for _ in range(2):
        status, answer = push(client, instance(image(1)), instance(image(2)))
        assert (status, list(answer)) == (200, ["00081199"])

    assert client.get("/v1/jobs").json()["counts"] == {"queued": 2}


def test_the_status_of_a_push_tells_how_much_was_taken(client: TestClient) -> None:
    """202 for a part of it, 409 for nothing."""
    assert push(client, instance(image(1)), b"no DICOM")[0] == 202
    assert push(client, b"no DICOM")[0] == 409
    assert push(client, instance(image(1)), path="/dicom-web/studies/1.9")[0] == 409
    assert client.post("/dicom-web/studies", content=b"x").json()["code"] == "media_type_unsupported"


def test_nothing_of_a_patient_is_logged_or_told(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A name in what is pushed is in no log, no metric, no answer and no file of the service."""
    caplog.set_level(logging.DEBUG)
    push(client, instance(Subject("1.2", "1.2.1", "1.2.1.1")), b"Planted^Name", path="/dicom-web/studies/1.2")
    told = caplog.text + client.get("/metrics").text + client.get("/v1/jobs").text
    folder = app_of(client).state.versions.store.root.with_name("store-state")
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    assert "Planted" not in told
    assert "PLANTED" not in told
    assert b"Planted" not in written
    assert b"1.2.1.1" in written


def test_jobs_wait_for_the_next_start(start: Start) -> None:
    """What was accepted is there after a restart."""
    start(pacs=AWAY).post("/v1/jobs", json=ORDER)

    assert start(pacs=AWAY).get("/v1/jobs").json()["counts"] == {"queued": 1}
