"""Tests of what the audit trail has of requests."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from model_store.store import ModelStore
from service.__main__ import app as commands
from service.api.access import ROUTES
from service.api.auditor import ACT_OF
from service.audit.chain import verify
from service.keys import KeyRing
from tests.service.conftest import PNG, Start, app_of, running

URL = "/v1/segment"


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """The file of the audit trail."""
    return tmp_path / "audit" / "audit.jsonl"


@pytest.fixture
def audited(start: Start, trail: Path, tmp_path: Path) -> Callable[..., TestClient]:
    """Starts an application that records."""

    def started(**more: object) -> TestClient:
        return start(audit={"file": trail, **more}, state=tmp_path / "state")

    return started


def lines(trail: Path) -> list[dict[str, Any]]:
    """All that is recorded."""
    written = trail.read_bytes().splitlines()
    verify(written)
    return [json.loads(line) for line in written]


@pytest.mark.requirement("AUD-1")
def test_a_mask_is_recorded_with_who_which_image_and_which_version(
    audited: Callable[..., TestClient], trail: Path, image: bytes, tmp_path: Path
) -> None:
    """When the client has its answer, the line is there."""
    client = audited()
    key, _ = KeyRing(tmp_path / "state" / "keys.json").create("radiology", ["infer"], 1)
    answer = client.post(URL, content=image, headers={**PNG, "Authorization": f"Bearer {key}"})

    told = lines(trail)[-1]
    secret = bytes.fromhex((tmp_path / "state" / "audit.key").read_text(encoding="utf-8"))
    assert ("image_segmented", "success", 200) == (told["act"], told["outcome"], told["status"])
    assert told["who"].startswith("radiology (key ")
    assert told["address"] == "testclient"
    assert told["request_id"] == answer.headers["x-request-id"]
    assert answer.json()["model"]["digest"] == told["digest"]
    assert f"hmac-sha256:{hmac.new(secret, image, hashlib.sha256).hexdigest()}" == told["image"]


def test_the_life_of_the_service_is_recorded(trail: Path, tmp_path: Path, published_store: ModelStore) -> None:
    """Its start, each version that it takes up, and its end."""
    with running(store=published_store.root, audit={"file": trail}, state=tmp_path / "state"):
        pass

    assert ["service_started", "version_loaded", "service_stopped"] == [line["act"] for line in lines(trail)]


def test_a_refused_request_is_recorded(audited: Callable[..., TestClient], trail: Path) -> None:
    """An image that is none, and the code of the answer."""
    audited().post(URL, content=b"no image", headers=PNG)

    told = lines(trail)[-1]
    assert ("image_segmented", "refused", "image_undecodable") == (told["act"], told["outcome"], told["problem"])


@pytest.mark.parametrize(
    "request_line", ["POST /v1/segment", "GET /v1/models", "PUT /v1/models/efsnet/aliases/production"]
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer efs_wrong"}])
def test_refused_access_is_recorded_on_every_route(
    audited: Callable[..., TestClient], trail: Path, request_line: str, headers: dict[str, str]
) -> None:
    """Reading too, and nothing of what was sent."""
    client = audited()
    KeyRing(trail.parent.parent / "state" / "keys.json").create("radiology", ["infer"], 1)
    client.request(*request_line.split(), headers=headers)

    told = lines(trail)[-1]
    assert ("access_refused", "refused", 401) == (told["act"], told["outcome"], told["status"])
    assert "efs_wrong" not in trail.read_text(encoding="utf-8")


def test_reading_what_is_published_is_not_recorded(audited: Callable[..., TestClient], trail: Path) -> None:
    """Nor is whether the service lives: the trail is for what matters."""
    client = audited()
    before = len(lines(trail))
    for path in ("/livez", "/readyz", "/metrics", "/v1/models", "/", "/docs"):
        assert client.get(path).is_success

    assert before == len(lines(trail))


def test_a_promotion_is_recorded_with_its_version(
    audited: Callable[..., TestClient], trail: Path, tmp_path: Path, published_store: ModelStore
) -> None:
    """And by whom."""
    client = audited()
    key, _ = KeyRing(tmp_path / "state" / "keys.json").create("physicist", ["publish"], 1)
    client.put(
        "/v1/models/efsnet/aliases/production",
        json={"version": 1, "reason": "again", "expected_current": 1},
        headers={"Authorization": f"Bearer {key}"},
    ).raise_for_status()

    told = next(line for line in lines(trail) if line["act"] == "version_promoted")
    assert ("production", str(published_store.version("efsnet", "1").digest)) == (told["alias"], told["digest"])
    assert told["who"].startswith("physicist")


def test_a_stream_is_recorded_from_its_begin_to_its_end(
    trail: Path, tmp_path: Path, published_store: ModelStore
) -> None:
    """With the code that ended it."""
    settings: dict[str, Any] = {"store": published_store.root, "audit": {"file": trail}, "state": tmp_path / "state"}
    with running(**settings) as client, client.websocket_connect("/v1/stream") as stream:
        stream.receive_json()

    opened, closed = [line for line in lines(trail) if line["act"].startswith("stream")]
    assert ("stream_opened", "stream_closed") == (opened["act"], closed["act"])
    assert opened["request_id"] == closed["request_id"]
    assert isinstance(closed["code"], int)


def test_an_answer_that_cannot_be_recorded_is_withheld(
    audited: Callable[..., TestClient], trail: Path, image: bytes
) -> None:
    """The client is told so, the service is not ready, and nothing more is begun; then all is well again."""
    client = audited()
    kept = trail.read_bytes()
    trail.unlink()
    trail.mkdir()  # nobody can append to a folder, whoever he is
    answers = [client.post(URL, content=image, headers=PNG) for _ in range(3)]

    assert {(503, "audit_unavailable")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert (503, "audit_unavailable") == (
        (ready := client.get("/readyz")).status_code,
        ready.json()["code"],
    )
    assert "efs_audit_write_failures_total 1.0" in client.get("/metrics").text
    trail.rmdir()
    trail.write_bytes(kept)
    app_of(client).state.trail._failed_at = 0.0  # a second later
    assert client.post(URL, content=image, headers=PNG).is_success
    assert client.get("/readyz").is_success
    assert ["audit_resumed", "image_segmented"] == [line["act"] for line in lines(trail)][-2:]


def test_a_decision_whose_answer_was_withheld_is_not_made_twice(
    audited: Callable[..., TestClient], trail: Path, published_store: ModelStore, tmp_path: Path
) -> None:
    """It is done and on the store's own record: who repeats it is told that the alias names something else by now."""
    client = audited()
    key, _ = KeyRing(tmp_path / "state" / "keys.json").create("physicist", ["publish"], 1)
    client.headers["Authorization"] = f"Bearer {key}"
    kept = trail.read_bytes()
    trail.unlink()
    trail.mkdir()
    change = {"version": 1, "reason": "for the night", "expected_current": None}
    address = "/v1/models/efsnet/aliases/night"
    withheld = client.put(address, json=change)
    trail.rmdir()
    trail.write_bytes(kept)
    app_of(client).state.trail._failed_at = 0.0  # a second later
    repeated = client.put(address, json=change)

    assert ["audit_unavailable", "promotion_conflict"] == [answer.json()["code"] for answer in (withheld, repeated)]
    assert ["production", "night"] == [record.alias for record in published_store.promotions("efsnet")]


@pytest.mark.requirement("AUD-3")
def test_an_operator_may_rather_have_answers(audited: Callable[..., TestClient], trail: Path, image: bytes) -> None:
    """With `continue` they come, and what was not recorded is counted."""
    client = audited(when_unwritable="continue")
    trail.unlink()
    trail.mkdir()

    assert client.post(URL, content=image, headers=PNG).is_success
    assert client.get("/readyz").is_success
    assert "efs_audit_write_failures_total 1.0" in client.get("/metrics").text
    trail.rmdir()


def test_every_act_is_of_a_route_and_every_route_that_changes_something_has_one(client: TestClient) -> None:
    """A new route that takes a body is recorded, or this test fails."""
    taking = {
        (method, route.path)
        for route in ROUTES
        for method in route.methods.split()
        if method in ("POST", "PUT", "PATCH", "DELETE")
    }

    reading = {("POST", "/v2/repository/index")}  # which is a POST because its protocol says so
    assert taking - reading == set(ACT_OF)
    assert {path for _, path in taking} <= app_of(client).openapi()["paths"].keys()


def test_the_command_tells_whether_a_trail_is_whole(
    audited: Callable[..., TestClient], trail: Path, image: bytes
) -> None:
    """And where it ends; one that was changed, is empty or missing is told, with status 1."""
    audited().post(URL, content=image, headers=PNG)
    whole = CliRunner().invoke(commands, ["audit", "verify", str(trail)])
    trail.write_bytes(trail.read_bytes().replace(b"success", b"refused", 1))
    changed = CliRunner().invoke(commands, ["audit", "verify", str(trail)])
    trail.write_bytes(b"")
    empty = CliRunner().invoke(commands, ["audit", "verify", str(trail)])
    missing = CliRunner().invoke(commands, ["audit", "verify", str(trail.with_name("missing"))])

    assert (whole.exit_code, changed.exit_code, empty.exit_code, missing.exit_code) == (0, 1, 1, 1)
    assert "as they were written" in whole.stdout
    assert "changed" in changed.stderr


def test_made_and_revoked_keys_are_recorded(trail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the commands, in the trail of the service."""
    monkeypatch.setenv("EFSNET_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("EFSNET_AUDIT_FILE", str(trail))
    made = CliRunner().invoke(commands, ["keys", "create", "radiology", "--scopes", "infer"], catch_exceptions=False)
    (key,) = KeyRing(tmp_path / "state" / "keys.json").keys
    CliRunner().invoke(commands, ["keys", "revoke", key.id], catch_exceptions=False)

    assert ["key_made", "key_revoked"] == [line["act"] for line in lines(trail)]
    assert {str(key)} == {line["key"] for line in lines(trail)}
    assert made.stdout.strip() not in trail.read_text(encoding="utf-8")
