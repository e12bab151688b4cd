"""Promotions are followed while the service runs."""

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from efsnet.predictor import Computation
from model_store.errors import KeyUnusable
from model_store.loading import LoadedVersion, load
from model_store.manifest import Draft
from model_store.signatures import RELEASE_KEYS
from model_store.signing import generate
from model_store.store import ModelStore
from model_store.version import Version
from service.keys import KeyRing
from service.versions import LOADS_WAITING
from tests.service.api.test_health import samples, value
from tests.service.conftest import PNG, Gate, Start, app_of
from tests.service.test_versions import ask

SOON_S = 0.02
PRODUCTION = "/v1/models/efsnet/aliases/production"


@pytest.fixture
def store(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """Versions 1 to 4, of which 1 is production."""
    for _ in range(3):
        published_store.publish("efsnet", tiny_draft, tiny_contents)
    return published_store


@pytest.fixture
def unmeasured(store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """With a version 5 that nobody has measured."""
    store.publish("efsnet", tiny_draft.model_copy(update={"metrics": {}}), tiny_contents)
    return store


@pytest.fixture
def key(store: ModelStore) -> dict[str, str]:
    """The header of a key for everything."""
    ring = KeyRing(store.root.with_name("store-state") / "keys.json")
    return {"Authorization": f"Bearer {ring.create('chief', ['admin'], 1)[0]}"}


@pytest.fixture
def client(start: Start, store: ModelStore, key: dict[str, str]) -> TestClient:
    """A service that notices promotions at once, used by somebody who may everything."""
    client = start(follow_s=SOON_S)
    client.headers.update(key)
    return client


def promote(store: ModelStore, version: int) -> None:
    """Makes a version production, from the command line as it were."""
    store.promote("efsnet", "production", version, by="the tests", why="it is time")


def answering(client: TestClient, image: bytes, **query: str) -> str:
    """The version that answers."""
    answer = client.post("/v1/segment", content=image, headers=PNG, params=query)
    return str(answer.raise_for_status().headers["X-Model-Version"])


def eventually(holds: Callable[[], object]) -> bool:
    """Whether this holds within a minute."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(SOON_S)
    return bool(holds())


def put(client: TestClient, version: int, expected: int | None, **more: Any) -> Any:
    """Promotes a version to production by request."""
    body = {"version": version, "reason": "better", "expected_current": expected, **more}
    return client.put(PRODUCTION, json=body)


def roll_back(client: TestClient, expected: int) -> Any:
    """Rolls production back by request."""
    return client.post(f"{PRODUCTION}/rollback", json={"reason": "worse", "expected_current": expected})


def damage(store: ModelStore, version: int) -> Path:
    """Takes a version's model away, and returns where it is now."""
    path = store.root / f"efsnet/versions/{version}/model.onnx"
    return path.rename(store.root.with_name("model.onnx"))


def promote_damaged(store: ModelStore, version: int) -> Path:
    """Makes a version production whose model is gone when the service sees the promotion; returns where that is."""
    elsewhere = ModelStore(shutil.copytree(store.root, store.root.with_name("elsewhere")))
    promote(elsewhere, version)
    newest = max((elsewhere.root / "efsnet/promotions").iterdir())
    model = damage(store, version)
    newest.rename(store.root / "efsnet/promotions" / newest.name)
    return model


def repair(store: ModelStore, version: int, model: Path) -> None:
    """Puts it back."""
    shutil.move(model, store.root / f"efsnet/versions/{version}/model.onnx")


@pytest.mark.requirement("VER-4")
def test_a_promotion_in_the_store_is_noticed(client: TestClient, store: ModelStore, image: bytes) -> None:
    """Nobody needs to tell the service, nor to restart it."""
    assert "1" == answering(client, image)
    promote(store, 2)

    assert eventually(lambda: "2" == answering(client, image))
    assert ("2", "2") == (answering(client, image, version="production"), answering(client, image, version="2"))
    assert 2 == client.get("/readyz").json()["model"]["version"]
    assert {("1", ""), ("2", "production")} == {
        (dict(labels)["version"], dict(labels)["alias"]) for name, labels in samples(client) if name == "efs_model_info"
    }
    assert 2 == value(client, "efs_model_promotions_total", alias="production", action="promote")


def test_a_promotion_by_request_is_served_when_it_is_answered(
    client: TestClient, store: ModelStore, image: bytes
) -> None:
    """It is on the record, with the name of the key and the reason."""
    answer = put(client, 3, 1).json()

    assert "3" == answering(client, image)
    assert answer["serving"]
    assert ("promote", "production", 3, "better") == tuple(
        answer["record"][fact] for fact in ("action", "alias", "version", "why")
    )
    recorded = store.promotions("efsnet")[-1]
    assert (recorded.number, recorded.by) == (answer["record"]["number"], answer["record"]["by"])
    assert recorded.by.startswith("chief (key ")


@pytest.mark.requirement("VER-5")
def test_a_rollback_brings_back_the_version_before(client: TestClient, store: ModelStore, image: bytes) -> None:
    """Once more, the one before that; and then there is none."""
    put(client, 2, 1)
    put(client, 3, 2)

    assert 2 == roll_back(client, 3).json()["record"]["version"]
    assert "2" == answering(client, image)
    assert 1 == roll_back(client, 2).json()["record"]["version"]
    assert "1" == answering(client, image)
    answer = roll_back(client, 1)
    assert (409, "nothing_to_roll_back") == (answer.status_code, answer.json()["code"])
    assert ["promote", "promote", "promote", "rollback", "rollback"] == [p.action for p in store.promotions("efsnet")]


def test_a_rollback_that_is_sent_twice_undoes_one_promotion(client: TestClient, image: bytes) -> None:
    """The second says that production is not what the client takes it for."""
    put(client, 2, 1)
    put(client, 3, 2)

    assert [200, 409] == [roll_back(client, 3).status_code for _ in range(2)]
    assert "2" == answering(client, image)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"version": 2, "expected_current": 7}, (409, "promotion_conflict")),
        ({"version": 2, "expected_current": None}, (409, "promotion_conflict")),
        ({"version": 77, "expected_current": 1}, (404, "version_unknown")),
        ({"version": 5, "expected_current": 1}, (409, "promotion_refused")),
        ({"version": 2, "expected_current": 1, "reason": "a\nb"}, (422, "parameter_invalid")),
        ({"version": 2, "expected_current": 1, "reason": ""}, (422, "parameter_invalid")),
        ({"version": 2}, (422, "parameter_invalid")),
        ({"version": 2, "expected_current": 1, "force": True}, (422, "parameter_invalid")),
    ],
)
def test_what_cannot_be_promoted_changes_nothing(
    client: TestClient, unmeasured: ModelStore, body: dict[str, Any], problem: tuple[int, str]
) -> None:
    """Neither the store nor the service; the code says why."""
    answer = client.put(PRODUCTION, json={"reason": "better", **body})

    assert problem == (answer.status_code, answer.json()["code"])
    assert 1 == len(unmeasured.promotions("efsnet"))
    assert 1 == client.get("/readyz").json()["model"]["version"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [("efsnet/aliases/Not.An.Alias", (422, "parameter_invalid")), ("missing/aliases/night", (404, "model_unknown"))],
)
def test_an_alias_has_a_model_and_a_name(client: TestClient, path: str, problem: tuple[int, str]) -> None:
    """Others are refused by what is wrong with them."""
    body = {"version": 2, "reason": "better", "expected_current": None}
    answer = client.put(f"/v1/models/{path}", json=body)

    assert problem == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"'])
def test_a_body_that_is_no_change_is_a_problem(client: TestClient, content: bytes) -> None:
    """Whatever it is."""
    answer = client.put(PRODUCTION, content=content, headers={"Content-Type": "application/json"})

    assert (422, "parameter_invalid") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("body", [b" " * 64_001, iter([b"{}"])], ids=["too large", "of any length"])
def test_a_decision_is_not_read_beyond_its_limit(client: TestClient, body: Any) -> None:
    """A reason is a line; what is longer is not taken into memory."""
    answer = client.put(PRODUCTION, content=body, headers={"Content-Type": "application/json"})

    assert (413, "body_too_large") == (answer.status_code, answer.json()["code"])


def test_nobody_decides_without_a_key(start: Start, store: ModelStore) -> None:
    """Not even where no key was ever made."""
    client = start()

    assert (401, 401) == (put(client, 2, 1).status_code, roll_back(client, 1).status_code)
    assert 1 == len(store.promotions("efsnet"))


def test_a_version_that_fails_its_checks_is_not_promoted_by_request(
    client: TestClient, store: ModelStore, image: bytes
) -> None:
    """It is loaded before anything is recorded."""
    damage(store, 2)
    answer = put(client, 2, 1)

    assert (503, "version_damaged") == (answer.status_code, answer.json()["code"])
    assert 1 == len(store.promotions("efsnet"))
    assert "1" == answering(client, image)


@pytest.mark.requirement("VER-6")
def test_a_promoted_version_that_fails_leaves_the_running_one(
    client: TestClient, store: ModelStore, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Log, metric and /readyz say why, once; when it is repaired, it is followed without a restart."""
    model = promote_damaged(store, 2)
    assert eventually(lambda: client.get("/readyz").json()["troubles"])
    [trouble] = client.get("/readyz").json()["troubles"]

    assert "model.onnx" in trouble
    assert "efsnet 1 goes on answering" in trouble
    assert 1 == value(client, "efs_model_stale", alias="production")
    assert 1 == value(client, "efs_model_loads_total", outcome="refused")
    assert 1 == caplog.text.count("not followed")
    assert "1" == answering(client, image)
    repair(store, 2, model)
    assert eventually(lambda: "2" == answering(client, image))
    assert [] == client.get("/readyz").json()["troubles"]
    assert 0 == value(client, "efs_model_stale", alias="production")


def test_a_service_that_could_not_start_becomes_ready(start: Start, store: ModelStore, image: bytes) -> None:
    """When the version is repaired, without a restart."""
    model = damage(store, 1)
    client = start(follow_s=SOON_S)
    assert 503 == client.get("/readyz").status_code
    repair(store, 1, model)

    assert eventually(lambda: 200 == client.get("/readyz").status_code)
    assert "1" == answering(client, image)


def test_a_later_promotion_makes_the_service_ready(start: Start, store: ModelStore, image: bytes) -> None:
    """Where the version that it should have started with is lost."""
    damage(store, 1)
    client = start(follow_s=SOON_S)
    assert 503 == client.get("/readyz").status_code
    promote(store, 2)

    assert eventually(lambda: 200 == client.get("/readyz").status_code)
    assert "2" == answering(client, image)


@pytest.mark.requirement("VER-4")
def test_requests_under_way_keep_their_version(
    start: Start, store: ModelStore, gate: Gate, gated: Callable[[Version], LoadedVersion], image: bytes
) -> None:
    """The answer of each names the version that it started with; who comes later gets the new one."""
    client = start(load_version=gated, follow_s=SOON_S)
    with ThreadPoolExecutor(2) as clients:
        early = clients.submit(answering, client, image)
        gate.await_calls(1)
        promote(store, 2)
        assert eventually(lambda: 2 == client.get("/readyz").json()["model"]["version"])
        late = clients.submit(answering, client, image)
        gate.await_calls(1)
        gate.opened.set()

        assert ("1", "2") == (early.result(), late.result())


def test_the_version_to_go_back_to_stays_in_memory(client: TestClient, image: bytes) -> None:
    """Though others are asked for later; so a rollback loads nothing."""
    put(client, 2, 1)
    for version in ("3", "4", "3"):
        answering(client, image, version=version)
    loads = value(client, "efs_model_loads_total", outcome="ok")
    roll_back(client, 2)

    assert "1" == answering(client, image)
    assert loads == value(client, "efs_model_loads_total", outcome="ok")


def test_another_alias_is_set_by_request_too(client: TestClient, image: bytes) -> None:
    """It is looked up with each request that names it."""
    body = {"version": 2, "reason": "to be tried", "expected_current": None}
    answer = client.put("/v1/models/efsnet/aliases/night", json=body).json()

    assert answer["serving"]
    assert ("2", "1") == (answering(client, image, version="night"), answering(client, image))


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.requirement("VER-8")
def test_a_store_that_was_set_back_is_not_followed(
    start: Start, store: ModelStore, key: dict[str, str], image: bytes, *, running: bool
) -> None:
    """What runs goes on; a service that starts does not serve; nobody adds to it. Restored, it is followed again."""
    promote(store, 2)
    client = start(follow_s=SOON_S)
    client.headers.update(key)
    newest = store.root / "efsnet/promotions/000002.json"
    aside = newest.rename(store.root.with_name("000002.json"))
    if running:
        assert eventually(lambda: client.get("/readyz").json().get("troubles"))
        [trouble] = client.get("/readyz").json()["troubles"]
        assert "2" == answering(client, image)
    else:
        client = start(follow_s=SOON_S)
        client.headers.update(key)
        trouble = client.get("/readyz").json()["detail"]
    answer = put(client, 3, 1)

    assert "set back" in trouble
    assert (503, "store_set_back") == (answer.status_code, answer.json()["code"])
    assert 1 == len(store.promotions("efsnet"))
    aside.rename(newest)
    assert eventually(lambda: client.get("/readyz").json().get("troubles") == [])
    assert "2" == answering(client, image)


@pytest.mark.requirement("VER-7")
def test_an_unsigned_version_is_refused_where_signatures_are_required(
    start: Start, store: ModelStore, image: bytes
) -> None:
    """As production, and when a request names it."""
    client = start(signatures="require")
    answer = client.post("/v1/segment?version=2", content=image, headers=PNG)

    assert "is not signed" in client.get("/readyz").json()["detail"]
    assert (409, "version_unsigned") == (answer.status_code, answer.json()["code"])


def test_an_unsigned_version_is_told_of_by_default(
    start: Start, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is served, and the log says that nobody vouches for it."""
    client = start()

    assert client.get("/readyz").json()["signed_by"] is None
    assert "is not signed" in caplog.text


def test_the_version_that_ships_is_signed(start: Start, tmp_path: Path) -> None:
    """By the key that ships beside it, so that `require` works out of the box."""
    ready = start(store=tmp_path / "new", signatures="require").get("/readyz").json()

    assert ("ready", "efsnet-release-2") == (ready["status"], ready["signed_by"])


def test_a_key_that_was_taken_out_is_trusted_no_more(start: Start, tmp_path: Path) -> None:
    """From the next version that is loaded on, without a restart."""
    keys = tmp_path / "keys"
    shutil.copytree(RELEASE_KEYS, keys)
    generate(tmp_path / "other.pem")
    (tmp_path / "other.pub").rename(keys / "other.pub")
    client = start(store=tmp_path / "new", signatures="require", trusted_keys=keys)
    assert "ready" == client.get("/readyz").json()["status"]
    for key in keys.glob("efsnet*.pub"):
        key.unlink()

    answer = client.post("/v1/segment?version=1", content=b"any", headers=PNG)

    assert (409, "signer_unknown") == (answer.status_code, answer.json()["code"])


def test_a_version_that_was_exchanged_since_it_was_loaded_is_not_promoted(
    client: TestClient, store: ModelStore, image: bytes, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """What is put on the record is what has proved itself."""
    client.post("/v1/segment?version=2", content=image, headers=PNG)
    folder = store.root / "efsnet" / "versions" / "2"
    shutil.rmtree(folder)
    other = ModelStore(store.root.with_name("other"))
    for words in ("first", "another"):
        other.publish("efsnet", tiny_draft.model_copy(update={"intended_use": words}), tiny_contents)
    shutil.copytree(other.version("efsnet", "2").path, folder)

    answer = client.put(PRODUCTION, json={"version": 2, "reason": "better", "expected_current": 1})

    assert 503 == answer.status_code
    assert "exchanged since it was loaded" in answer.json()["detail"]
    assert 1 == len(store.promotions("efsnet"))


def test_trusted_keys_that_are_none_keep_the_service_from_starting(start: Start, tmp_path: Path) -> None:
    """Rather than from trusting anybody later."""
    with pytest.raises(KeyUnusable, match="holds no trusted key"):
        start(signatures="require", trusted_keys=tmp_path)


def withdraw(client: TestClient, alias: str, expected: int) -> Any:
    """Ends an alias by request."""
    path = f"/v1/models/efsnet/aliases/{alias}/withdraw"
    return client.post(path, json={"reason": "tried enough", "expected_current": expected})


def test_a_decision_waits_for_no_request(start: Start, store: ModelStore, key: dict[str, str], image: bytes) -> None:
    """While one version is loaded, and as many requests for others wait as may, a promotion is still taken."""
    gate = Gate()

    def load_slowly(version: Version) -> LoadedVersion:
        if version.number == 2:
            gate.wait()
        return load(version, Computation(provider="cpu"), workers=2)

    client = start(load_version=load_slowly)
    client.headers.update(key)
    with ThreadPoolExecutor(3 + LOADS_WAITING) as clients:
        try:
            first = clients.submit(ask, client, image, "2")
            gate.await_calls(1)
            others = [clients.submit(ask, client, image, "3") for _ in range(LOADS_WAITING + 1)]
            refused = next(as_completed(others, timeout=60))  # the others wait
            promotion = clients.submit(put, client, 4, 1)
            versions = app_of(client).state.versions
            assert eventually(lambda: promotion.done() or versions.loads_waiting > LOADS_WAITING)
        finally:
            gate.opened.set()

        assert (429, 200) == (refused.result(), first.result())
        assert (200, True) == (promotion.result().status_code, promotion.result().json()["serving"])


def test_who_is_too_late_is_told_before_anything_is_loaded(
    start: Start, store: ModelStore, key: dict[str, str]
) -> None:
    """Nothing is spent on what cannot be recorded."""
    loaded: list[int] = []

    def load_noting(version: Version) -> LoadedVersion:
        loaded.append(version.number)
        return load(version, Computation(provider="cpu"), workers=2)

    client = start(load_version=load_noting)
    client.headers.update(key)

    assert "promotion_conflict" == put(client, 2, 3).json()["code"]
    assert "promotion_conflict" == roll_back(client, 3).json()["code"]
    assert [1] == loaded


def test_a_candidate_is_withdrawn_by_request(start: Start, store: ModelStore, key: dict[str, str]) -> None:
    """It sees no image any more, and the record says who ended it and why."""
    client = start(shadow_share=1.0)
    client.headers.update(key)
    body = {"version": 2, "reason": "to be tried", "expected_current": None}
    client.put("/v1/models/efsnet/aliases/candidate", json=body).raise_for_status()
    assert client.get("/v1/models/efsnet/shadow").json()["agreement"]

    answer = withdraw(client, "candidate", 2)

    assert (200, True) == (answer.status_code, answer.json()["serving"])
    assert ("withdraw", "tried enough") == tuple(answer.json()["record"][fact] for fact in ("action", "why"))
    assert client.get("/v1/models/efsnet/shadow").json()["agreement"] is None
    assert 1 == value(client, "efs_model_promotions_total", alias="candidate", action="withdraw")
    assert [] == client.get("/v1/models/efsnet/versions/2").json()["aliases"]
    assert store.promotions("efsnet")[-1].by.startswith("chief (key ")


@pytest.mark.parametrize(
    ("alias", "expected", "problem"),
    [
        ("production", 1, (422, "parameter_invalid")),
        ("production", 2, (409, "promotion_conflict")),
        ("candidate", 1, (409, "promotion_conflict")),
    ],
)
def test_what_cannot_be_withdrawn_stays(
    client: TestClient, store: ModelStore, alias: str, expected: int, problem: tuple[int, str]
) -> None:
    """Something has to answer, and what names nothing cannot be ended."""
    answer = withdraw(client, alias, expected)

    assert problem == (answer.status_code, answer.json()["code"])
    assert 1 == len(store.promotions("efsnet"))


def test_what_the_gate_could_not_compare_is_answered(client: TestClient) -> None:
    """As it stands on the record."""
    said = "efsnet 2 and efsnet 1, in production, were measured on no same images."

    assert said == put(client, 2, 1).json()["record"]["not_compared"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/efsnet", "/v1/models/efsnet/versions/2"])
def test_a_store_that_was_set_back_shows_no_aliases(client: TestClient, store: ModelStore, path: str) -> None:
    """They would be those of another day."""
    put(client, 2, 1)
    (store.root / "efsnet/promotions/000002.json").unlink()
    answer = client.get(path)

    assert (503, "store_set_back") == (answer.status_code, answer.json()["code"])


def test_no_answer_tells_where_folders_are(client: TestClient, store: ModelStore) -> None:
    """Neither readiness, which everybody may ask, nor any other; the names of the settings stand in their place."""
    put(client, 2, 1)
    (store.root / "efsnet/promotions/000002.json").unlink()
    assert eventually(lambda: client.get("/readyz").json().get("troubles"))
    answers = client.get("/readyz").text + put(client, 3, 2).text

    assert "delete EFSNET_STATE/promotions/efsnet.json" in answers
    assert str(store.root.parent) not in answers


def test_a_service_that_is_not_ready_tells_no_folders(start: Start, store: ModelStore) -> None:
    """Whatever is wrong with the store."""
    (store.root / "efsnet/promotions/000001.json").write_text("{}")
    detail = start().get("/readyz").json()["detail"]

    assert "EFSNET_STORE/efsnet/promotions/000001.json" in detail
    assert str(store.root) not in detail
